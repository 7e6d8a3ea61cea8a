//! Owns listening sockets that outlive the program of a process, so that a newer one goes on
//! accepting where the older one ended: connections that come in between wait in the kernel.
//!
//! Refuses to know what is served and to start a program. Bound: one descriptor per socket.
#![allow(unsafe_code, reason = "descriptors that another program left have no owner yet")]

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use crate::error::MachineError;

/// Lets the socket stay open when this process runs another program; its descriptor there.
///
/// # Errors
/// [`MachineError::System`] when the kernel refuses.
pub fn keep_across_exec(listener: &TcpListener) -> Result<RawFd, MachineError> {
    set_flags(listener.as_raw_fd(), 0)?;
    Ok(listener.as_raw_fd())
}

/// Takes the socket that the program before left at `descriptor`.
///
/// # Errors
/// [`MachineError::System`] where there is no listening socket at it; then nothing is taken.
pub fn inherited_listener(descriptor: RawFd) -> Result<TcpListener, MachineError> {
    let call = "getsockopt of an inherited socket";
    let (mut accepts, mut length): (libc::c_int, _) = (0, size_of::<libc::c_int>() as u32);
    // SAFETY: the kernel writes at most `length` bytes to the integer, and fails where the
    // descriptor is no open socket.
    let status = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_ACCEPTCONN,
            (&raw mut accepts).cast(),
            &raw mut length,
        )
    };
    if status < 0 {
        return Err(MachineError::System { call, source: io::Error::last_os_error() });
    }
    if accepts == 0 {
        let source = io::Error::other("the socket does not listen");
        return Err(MachineError::System { call, source });
    }
    set_flags(descriptor, libc::FD_CLOEXEC)?;
    // SAFETY: the descriptor is an open socket, left by the program that this process ran before,
    // and is taken once: the caller got its number from that program.
    Ok(unsafe { TcpListener::from_raw_fd(descriptor) })
}

fn set_flags(descriptor: RawFd, flags: libc::c_int) -> Result<(), MachineError> {
    // SAFETY: fcntl changes a flag of a descriptor and touches no memory of ours.
    let status = unsafe { libc::fcntl(descriptor, libc::F_SETFD, flags) };
    if status < 0 {
        let source = io::Error::last_os_error();
        return Err(MachineError::System { call: "fcntl", source });
    }
    Ok(())
}

/// Whether a descriptor is closed when this process runs another program.
#[cfg(test)]
fn is_closed_on_exec(descriptor: RawFd) -> bool {
    let path = format!("/proc/self/fdinfo/{descriptor}");
    let text = std::fs::read_to_string(path).unwrap();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
    u32::from_str_radix(flags, 8).unwrap() & libc::O_CLOEXEC as u32 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::IntoRawFd;

    #[test]
    fn a_socket_is_left_and_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_closed_on_exec(listener.as_raw_fd()));
        let descriptor = keep_across_exec(&listener).unwrap();
        assert!(!is_closed_on_exec(descriptor));
        let _ = listener.into_raw_fd();
        let taken = inherited_listener(descriptor).unwrap();
        assert!(is_closed_on_exec(descriptor));
        assert_eq!(taken.local_addr().unwrap(), address);
    }

    #[test]
    fn what_is_no_listening_socket_is_left_alone() {
        let file = File::open("/dev/null").unwrap();
        assert!(inherited_listener(file.as_raw_fd()).is_err());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(inherited_listener(socket.as_raw_fd()).is_err());
        assert!(inherited_listener(9_999).is_err());
    }
}
