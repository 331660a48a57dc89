//! The socket: where it lies, who may make it, and who may speak through it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Admin;

/// Why the admin socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// Another gateway listens there.
    #[error("another gateway answers at the admin socket {}: is it running already?", .0.display())]
    Live(PathBuf),
    /// There is a file that is no socket.
    #[error("{} is not a socket: choose another place for `management.admin_socket`", .0.display())]
    NotASocket(PathBuf),
    /// Everyone may put another socket in its place.
    #[error("everyone may write to the folder of the admin socket {}: mend it with `chmod o-w`, or choose another", .0.display())]
    OpenFolder(PathBuf),
    /// The file system refused.
    #[error("cannot listen on the admin socket {}: {cause}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

/// The bound socket. Its file goes when this does.
#[derive(Debug)]
pub struct AdminSocket {
    listener: Option<UnixListener>,
    path: PathBuf,
}

impl AdminSocket {
    /// Listens at `path`, mode 0600, in a folder that is made 0700 when it is not there. A socket that a killed process left is
    /// replaced, a live one is not.
    ///
    /// # Errors
    /// See [`AdminSocketError`].
    pub fn bind(path: &Path) -> Result<Self, AdminSocketError> {
        let io = |cause| AdminSocketError::Io { path: path.into(), cause };
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        let mode = fs::metadata(folder).map_err(io)?.permissions().mode();
        // In a folder with the sticky bit, such as /tmp, nobody can replace what is another's.
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(AdminSocketError::OpenFolder(path.into()));
        }
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(AdminSocketError::NotASocket(path.into()));
            }
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(AdminSocketError::Live(path.into())),
            Ok(_) => fs::remove_file(path).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
        let listener = UnixListener::bind(path).map_err(io)?;
        let socket = Self { listener: Some(listener), path: path.into() };
        // Whoever gets in before this is asked for their credentials all the same.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io)?;
        Ok(socket)
    }

    /// Serves every connection on a task of its own, on the runtime of the caller, which must be a `LocalSet`.
    pub async fn serve(mut self, admin: Admin) {
        let Some(listener) = self.listener.take() else { return };
        let listener =
            listener.set_nonblocking(true).and_then(|()| tokio::net::UnixListener::from_std(listener));
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin socket ended"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::task::spawn_local(admin.clone().serve(stream))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // It was ours while we lived: a live socket is never replaced.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a process of the user `peer` may administer the gateway of the user `own`: root, and the gateway's own user.
pub(super) fn may_administer(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn only_root_and_the_gateways_own_user_may() {
        assert!(may_administer(0, 1000) && may_administer(1000, 1000) && may_administer(0, 0));
        assert!(!may_administer(1001, 1000) && !may_administer(1000, 0));
    }

    #[test]
    fn folder_and_socket_are_private_and_the_socket_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/admin.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        let live = AdminSocket::bind(&path).unwrap();
        assert!(matches!(AdminSocket::bind(&path), Err(AdminSocketError::Live(_))));
        assert!(UnixStream::connect(&path).is_ok(), "the refused one leaves the live one alone");
        drop(live);
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(AdminSocket::bind(&path), Err(AdminSocketError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_folder_that_everyone_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let path = folder.path().join("admin.sock");
        assert!(matches!(AdminSocket::bind(&path), Err(AdminSocketError::OpenFolder(_))));
    }
}
