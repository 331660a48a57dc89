//! `fluidgate sessions check`: what a start would find in a store.

use std::io::Write;
use std::path::Path;

use super::SessionsError;

/// Why a store cannot be checked.
#[derive(Debug, thiserror::Error)]
#[error("not yet")]
pub(super) struct CheckError;

pub(super) fn run(
    _out: &mut impl Write,
    _store: Option<&Path>,
    _config: &Path,
) -> Result<bool, SessionsError> {
    Err(CheckError.into())
}
