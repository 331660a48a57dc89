//! The other end of the admin socket: one request, its answers, with a blocking stream.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::gateway::admin::protocol::{Answer, Refusal, Request, VERSION, Verb};

/// Longest wait for the next line. An export of a large store is read whole before its first line.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why the gateway did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("no gateway answers at {}; start it with `fluidgate run`", .0.display())]
    NoGateway(PathBuf),
    /// The socket may not be used.
    #[error("{}: permission denied; only root and the gateway's own user may use the admin socket", .0.display())]
    Forbidden(PathBuf),
    /// The gateway said no.
    #[error("the gateway refused: {0}")]
    Refused(#[from] Refusal),
    /// The gateway ended in the middle.
    #[error("the gateway's answer was cut; is it still running?")]
    Cut,
    /// The answer is of another version.
    #[error("the gateway's answer cannot be understood; are both of the same version?")]
    Odd,
    /// What the gateway sent could not be kept.
    #[error("cannot keep what the gateway sends: {0}")]
    Keep(io::Error),
    /// The connection failed.
    #[error("the connection to the gateway failed: {0}")]
    Io(#[from] io::Error),
}

/// A connection to a gateway, for one request.
pub(super) struct Client {
    input: BufReader<UnixStream>,
    output: BufWriter<UnixStream>,
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// When nobody answers there, or may not be spoken to.
    pub(super) fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoGateway(path.into()),
            io::ErrorKind::PermissionDenied => ClientError::Forbidden(path.into()),
            _ => ClientError::Io(error),
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let output = BufWriter::new(stream.try_clone()?);
        Ok(Self { input: BufReader::new(stream), output })
    }

    /// Asks for `verb`, hands every item to `each`, and answers what stands at the end.
    ///
    /// # Errors
    /// When the gateway refuses or its answer does not come whole, and what `each` says.
    pub(super) fn ask<Item: DeserializeOwned, Done: DeserializeOwned>(
        mut self,
        verb: Verb,
        each: &mut dyn FnMut(Item) -> io::Result<()>,
    ) -> Result<Done, ClientError> {
        self.send(&Request { version: VERSION, verb })?;
        self.answer(each)
    }

    /// Sends one line. A gateway that hung up has left its reason to be read by [`Client::answer`].
    ///
    /// # Errors
    /// When the line cannot be sent for another reason.
    pub(super) fn send(&mut self, line: &impl Serialize) -> Result<(), ClientError> {
        let mut text = serde_json::to_vec(line).map_err(io::Error::from)?;
        text.push(b'\n');
        match self.output.write_all(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// As [`Client::ask`], after everything was sent.
    ///
    /// # Errors
    /// As there.
    pub(super) fn answer<Item: DeserializeOwned, Done: DeserializeOwned>(
        mut self,
        each: &mut dyn FnMut(Item) -> io::Result<()>,
    ) -> Result<Done, ClientError> {
        match self.output.flush() {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            match self.input.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {}
                Ok(_) => return Err(ClientError::Cut),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Cut),
                Err(error) => return Err(error.into()),
            }
            match serde_json::from_slice(&line).map_err(|_| ClientError::Odd)? {
                Answer::Item(item) => each(item).map_err(ClientError::Keep)?,
                Answer::Done(done) => return Ok(done),
                Answer::Error(refusal) => return Err(refusal.into()),
            }
        }
    }
}
