//! The files our pages load. Each name carries a hash of the content, so that browsers may keep a file for ever and still
//! never see an old one.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// A file as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The content.
    pub bytes: &'static [u8],
}

/// Our files with the full paths they are served at.
#[derive(Debug)]
pub(super) struct Assets {
    style: (String, Asset),
    mark: (String, Asset),
}

impl Assets {
    /// The files under `{prefix}/assets/`.
    pub(super) fn under(prefix: &str) -> Self {
        let place = |stem: &str, extension: &str, asset: Asset| {
            let digest = HEXLOWER.encode(&Sha256::digest(asset.bytes));
            let hash: String = digest.chars().take(16).collect();
            (format!("{prefix}/assets/{stem}.{hash}.{extension}"), asset)
        };
        Self { style: place("style", "css", STYLE), mark: place("mark", "svg", MARK) }
    }

    /// The path of the stylesheet.
    pub(super) fn style(&self) -> &str {
        &self.style.0
    }

    /// The path of the mark, which is the favicon too.
    pub(super) fn mark(&self) -> &str {
        &self.mark.0
    }

    /// The file at `path`, compared exactly.
    pub(super) fn at(&self, path: &str) -> Option<Asset> {
        [&self.style, &self.mark].into_iter().find(|(at, _)| at == path).map(|(_, asset)| *asset)
    }
}

const STYLE: Asset =
    Asset { content_type: "text/css; charset=utf-8", bytes: include_bytes!("assets/style.css") };
const MARK: Asset = Asset { content_type: "image/svg+xml", bytes: include_bytes!("assets/mark.svg") };
