//! Owns what the kernel says of a connection.
//!
//! Refuses to know what is sent over it. Bound: one system call.
#![allow(unsafe_code, reason = "the standard library has no TCP_INFO")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How many bytes the peer of a TCP connection would take at once: the window that it advertised
/// last (`tcpi_snd_wnd`, Linux 5.4 and later).
///
/// # Errors
/// What the kernel said; `Unsupported` where it does not say this of a connection.
pub fn send_window(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the structure has numbers only, of which 0 is one.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut bytes = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes into `info`, which lives on this frame, and
    // then says how many those were.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut bytes,
        )
    };
    let end = mem::offset_of!(libc::tcp_info, tcpi_snd_wnd) + size_of_val(&info.tcpi_snd_wnd);
    match status {
        0 if bytes as usize >= end => Ok(info.tcpi_snd_wnd),
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_window_is_known_of_connections_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(send_window(server.as_fd()).unwrap() > 8_192);
        assert!(send_window(client.as_fd()).unwrap() > 8_192);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(send_window(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
