//! Layer 4: the only module that knows TOML. File → validated [`Config`]; every problem with its place in the file.

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listeners, workers and limits.
    pub server: crate::server::Settings,
    /// Sessions and their cookie.
    pub session: crate::session::Settings,
    /// Password login.
    pub login: crate::login::Settings,
    /// Routes and the pipeline.
    pub gateway: crate::gateway::Settings,
    /// Connections to upstreams.
    pub proxy: crate::proxy::Settings,
    /// The management listener; `None` when switched off.
    pub management: Option<crate::server::ListenAddress>,
    /// The access log.
    pub access_log: crate::observe::access_log::Settings,
}
