//! `SO_RCVLOWAT`, for which there is no safe binding.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets how many bytes must have arrived before a blocking read returns or a poll reports the socket as readable.
///
/// # Errors
/// The system's.
#[expect(unsafe_code, reason = "setsockopt(SO_RCVLOWAT) has no safe binding in rustix, socket2 or std")]
pub(crate) fn set_receive_low_watermark(socket: &impl AsFd, bytes: i32) -> io::Result<()> {
    let value: libc::c_int = bytes;
    let length = libc::socklen_t::try_from(size_of_val(&value)).expect("an int's size is small");
    // SAFETY: the descriptor is borrowed and so open for the whole call; the pointer is to a c_int that lives through
    // it, and the length is that int's.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            std::ptr::from_ref(&value).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
