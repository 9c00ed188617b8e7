//! Frames: a length of four bytes, big-endian, then that many bytes.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The largest frame, both ways. It holds a message of entries (a MiB, or one entry of any size that the server accepts).
pub(crate) const MAX_FRAME: usize = 64 << 20;

/// How much is reserved for a frame before its bytes are there: a length alone costs its sender nothing.
const FIRST_RESERVE: usize = 64 << 10;

/// The next frame, or `None` where the peer ended the stream between two.
///
/// Each frame has a buffer of its own, so that what is kept of one doesn't keep its neighbours in memory.
///
/// # Errors
/// The stream failed, ended within a frame, or announced one beyond `limit`.
pub(crate) async fn read_frame<R>(stream: &mut R, limit: usize) -> io::Result<Option<Bytes>>
where
    R: AsyncRead + Unpin,
{
    let mut length = [0; 4];
    let mut have = 0;
    while have < length.len() {
        match stream.read(&mut length[have..]).await? {
            0 if have == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => have += n,
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes; at most {limit} are allowed"),
        ));
    }
    let mut frame = BytesMut::with_capacity(length.min(FIRST_RESERVE));
    while frame.len() < length {
        let rest = (length - frame.len()) as u64;
        if (&mut *stream).take(rest).read_buf(&mut frame).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(frame.freeze()))
}

/// Appends a frame whose contents `write` appends, or nothing if they are beyond the limit.
///
/// # Errors
/// The contents' length, if it is beyond [`MAX_FRAME`].
pub(crate) fn put_frame(buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) -> Result<(), usize> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    write(buffer);
    let length = buffer.len() - start - 4;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME => {
            buffer[start..start + 4].copy_from_slice(&prefix.to_be_bytes());
            Ok(())
        }
        Ok(_) | Err(_) => {
            buffer.truncate(start);
            Err(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut input: &[u8], limit: usize) -> (Vec<Bytes>, Option<io::ErrorKind>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut frames = Vec::new();
        loop {
            match runtime.block_on(read_frame(&mut input, limit)) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(error) => return (frames, Some(error.kind())),
            }
        }
    }

    #[test]
    fn what_is_put_is_read() {
        let mut buffer = BytesMut::new();
        for frame in [&b"one"[..], b"", &[7; 200_000]] {
            put_frame(&mut buffer, |buffer| buffer.extend_from_slice(frame)).unwrap();
        }
        let (frames, error) = read_all(&buffer, MAX_FRAME);
        assert_eq!(frames, [&b"one"[..], b"", &[7; 200_000]]);
        assert_eq!(error, None);
    }

    #[test]
    fn a_frame_that_is_cut_short_or_too_large_is_an_error() {
        for (input, kind) in [
            (&[0, 0][..], io::ErrorKind::UnexpectedEof),
            (&[0, 0, 0, 2, 1], io::ErrorKind::UnexpectedEof),
            (&[0, 0, 0, 11, 1], io::ErrorKind::InvalidData),
            (&[255, 255, 255, 255], io::ErrorKind::InvalidData),
        ] {
            assert_eq!(read_all(input, 10), (vec![], Some(kind)), "{input:?}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_not_put() {
        let mut buffer = BytesMut::from(&b"before"[..]);
        let put = put_frame(&mut buffer, |buffer| buffer.resize(buffer.len() + MAX_FRAME + 1, 0));
        assert_eq!(put, Err(MAX_FRAME + 1));
        assert_eq!(buffer, b"before"[..]);
    }
}
