//! Layer 2: view structs to HTML. Imports `base`, `web`.
//!
//! Every page is whole without a script, an inline style or anything from another origin, so that the strictest
//! Content-Security-Policy fits: `default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';
//! frame-ancestors 'none'; base-uri 'none'`. Values are escaped by the template engine; nothing switches that off.

mod assets;
mod browser;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod view;
mod when;

#[cfg(test)]
mod tests;

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value, context};

pub use self::assets::Asset;
pub use self::browser::browser_in_words;
pub use self::view::{
    AccountNotice, AccountView, DeniedView, LoginMessage, LoginView, LogoutView, MessageView, SessionView,
};

use self::assets::Assets;
use self::view::{link_to, login_link};

/// Why the pages could not be built. Both are found at start, never while a request waits.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The prefix is not `/` followed by letters, digits and `/ - . _ ~`, or ends in a slash.
    #[error("the prefix of our own pages must look like `/_auth`, not `{0}`")]
    Prefix(String),
    /// A template does not compile.
    #[error("a page template is broken")]
    Template(#[from] minijinja::Error),
}

/// Our own pages and the files they need, compiled once.
#[derive(Debug)]
pub struct Pages {
    templates: Environment<'static>,
    assets: Assets,
    prefix: String,
}

impl Pages {
    /// Compiles the pages for the paths under `prefix`, such as `/_auth`.
    ///
    /// # Errors
    /// [`PageError`] when the prefix is not a plain absolute path, or a template does not compile.
    pub fn new(prefix: &str) -> Result<Self, PageError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~".contains(&b);
        let absolute = prefix.starts_with('/') && !prefix.starts_with("//") && !prefix.ends_with('/');
        if !absolute || !prefix.bytes().all(plain) {
            return Err(PageError::Prefix(prefix.to_owned()));
        }
        let assets = Assets::under(prefix);
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source)?;
        }
        templates.add_global("prefix", prefix);
        templates.add_global("style", assets.style());
        templates.add_global("mark", assets.mark());
        Ok(Self { templates, assets, prefix: prefix.to_owned() })
    }

    /// The sign-in page. Its form posts `username`, `password`, `return_to` and `token` to `{prefix}/login`.
    pub fn login(&self, view: &LoginView<'_>) -> String {
        let message = view.message.map(|m| context! { text => m.words(), tone => m.tone() });
        let refused = view.message == Some(LoginMessage::Refused);
        self.render("login.html", context! { view => Serde(view), message, refused })
    }

    /// The page that asks before signing out. Its form posts `return_to` and `token` to `{prefix}/logout`.
    pub fn logout(&self, view: &LogoutView<'_>) -> String {
        let back = link_to(view.return_to);
        self.render("logout.html", context! { view => Serde(view), back })
    }

    /// The signed-in user and their sessions. Its forms post `token`, `action` (`end`, `end_others` or `end_all`) and, for
    /// `end`, `handle` to `{prefix}/account`.
    pub fn account(&self, view: &AccountView<'_>) -> String {
        let sessions: Vec<Value> = view.sessions.iter().map(|s| s.in_words(view.now)).collect();
        let others = view.sessions.iter().filter(|s| !s.current).count();
        let notice = view.notice.map(|n| context! { text => n.words(), tone => n.tone() });
        self.render("account.html", context! { view => Serde(view), sessions, others, notice })
    }

    /// The page for a signed-in user who may not see what they asked for (status 403).
    pub fn denied(&self, view: &DeniedView<'_>) -> String {
        let switch = login_link(&self.prefix, view.return_to);
        self.render("denied.html", context! { view => Serde(view), switch })
    }

    /// The page of any other answer we make ourselves, from 400 to 504.
    pub fn message(&self, view: &MessageView<'_>) -> String {
        self.render("message.html", context! { view => Serde(view) })
    }

    /// The file at the request path `path` (`{prefix}/assets/<name>`). The name carries a hash of the content: the answer
    /// may be cached for ever (`Cache-Control: public, max-age=31536000, immutable`).
    pub fn asset(&self, path: &str) -> Option<Asset> {
        self.assets.at(path)
    }

    fn render(&self, name: &str, context: Value) -> String {
        self.templates
            .get_template(name)
            .and_then(|page| page.render(context))
            .unwrap_or_else(|_| FALLBACK.to_owned())
    }
}

/// What is shown when a page does not render; a test renders every page, so nobody should see it.
const FALLBACK: &str = "<!doctype html>\n<html lang=\"en\"><title>Error</title>\
    <p>This page could not be shown. Please go back and try again.</p></html>\n";

/// The names end in `.html`: that is what turns escaping on.
const TEMPLATES: [(&str, &str); 6] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("login.html", include_str!("templates/login.html")),
    ("logout.html", include_str!("templates/logout.html")),
    ("account.html", include_str!("templates/account.html")),
    ("denied.html", include_str!("templates/denied.html")),
    ("message.html", include_str!("templates/message.html")),
];
