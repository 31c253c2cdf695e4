//! Frames under every splitting of the stream, and misuse.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use avid_types::limits::CONTROL_FRAME_BYTES_MAX;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::connection::reader::READ_BUFFER_BYTES;
use crate::connection::writer::{SMALL_FRAME_BYTES_MAX, WRITE_BUFFER_BYTES};
use crate::frame::HEADER_BYTES;

/// A stream that moves 1..=`step` bytes per call (0: everything), counts calls, and remembers read sizes.
#[derive(Debug, Default)]
struct Drip {
    bytes: Vec<u8>,
    position: usize,
    step: usize,
    calls: usize,
    widest_read: usize,
}

impl Drip {
    fn of(bytes: Vec<u8>, step: usize) -> Self {
        Self { bytes, step, ..Self::default() }
    }

    fn next_step(&mut self) -> usize {
        self.calls += 1;
        if self.step == 0 {
            return usize::MAX;
        }
        1 + (self.calls * 7) % self.step
    }
}

impl AsyncRead for Drip {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = self.next_step();
        self.widest_read = self.widest_read.max(target.remaining());
        let start = self.position;
        let end = self.bytes.len().min(start + step.min(target.remaining()));
        target.put_slice(&self.bytes[start..end]);
        self.position = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Drip {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = self.next_step();
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let taken = all.len().min(step);
        self.bytes.extend_from_slice(&all[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future that never waits.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn open_reader(bytes: Vec<u8>, step: usize) -> FrameReader<Drip> {
    let mut reader = FrameReader::new(Drip::of(bytes, step));
    reader.open();
    reader
}

/// The bytes of frames whose bodies come in the given parts.
fn written(frames: &[Vec<Vec<u8>>], step: usize) -> Vec<u8> {
    let mut sink = Drip::of(Vec::new(), step);
    let mut writer = FrameWriter::new(&mut sink);
    writer.open();
    block_on(async {
        for parts in frames {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            writer.write_frame(20, 1, &parts).await.unwrap();
            assert!(writer.pending_bytes() <= WRITE_BUFFER_BYTES);
        }
        writer.flush().await.unwrap();
    });
    sink.bytes
}

fn one_frame(body_bytes: usize) -> Vec<u8> {
    written(&[vec![vec![7; body_bytes]]], 1 << 20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn frames_survive_any_splitting(
        frames in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..4), 0..12),
        write_step in 1usize..40_000,
        read_step in 1usize..40_000,
    ) {
        let bytes = written(&frames, write_step);
        let mut reader = open_reader(bytes, read_step);
        let bodies: Vec<Vec<u8>> = block_on(async {
            let mut bodies = Vec::new();
            while let Some(header) = reader.next_header().await.unwrap() {
                assert_eq!((header.kind, header.version), (20, 1));
                bodies.push(reader.read_body().await.unwrap());
            }
            bodies
        });
        let expected: Vec<Vec<u8>> = frames.iter().map(|parts| parts.concat()).collect();
        prop_assert_eq!(bodies, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 16, 17, 0xf0]), 0..64),
        step in 1usize..20,
    ) {
        let mut reader = open_reader(bytes, step);
        block_on(async {
            while let Ok(Some(header)) = reader.next_header().await {
                let read = if header.kind % 2 == 0 {
                    reader.read_body().await.map(drop)
                } else {
                    reader.skip().await
                };
                if read.is_err() {
                    break;
                }
            }
        });
    }
}

#[test]
fn small_frames_share_one_write() {
    let mut sink = Drip::of(Vec::new(), 0);
    let mut writer = FrameWriter::new(&mut sink);
    block_on(async {
        for _ in 0..100 {
            writer.write_frame(20, 1, &[&[1; 170]]).await.unwrap();
        }
        assert_eq!(writer.pending_bytes(), 100 * (HEADER_BYTES + 170));
        writer.flush().await.unwrap();
    });
    assert_eq!((sink.calls, sink.bytes.len()), (1, 100 * (HEADER_BYTES + 170)));
}

#[test]
fn a_large_frame_leaves_after_the_small_ones_before_it() {
    let large = vec![9; SMALL_FRAME_BYTES_MAX + 1];
    let bytes = written(&[vec![vec![1]], vec![large.clone()], vec![vec![2]]], 1 << 20);
    let mut reader = open_reader(bytes, 1 << 20);
    block_on(async {
        for body in [vec![1], large, vec![2]] {
            reader.next_header().await.unwrap().unwrap();
            assert_eq!(reader.read_body().await.unwrap(), body);
        }
        assert!(reader.next_header().await.unwrap().is_none());
    });
}

#[test]
fn a_large_body_goes_to_the_callers_buffer_directly() {
    let chunk_bytes = 256 << 10;
    let mut frame = one_frame(chunk_bytes);
    frame[HEADER_BYTES] = 1;
    let mut inner = Drip::of(frame, 1000);
    let mut reader = FrameReader::new(&mut inner);
    reader.open();
    let mut chunk = vec![0; chunk_bytes - 1];
    block_on(async {
        reader.next_header().await.unwrap().unwrap();
        let mut prefix = [0];
        reader.read_exact(&mut prefix).await.unwrap();
        assert_eq!(prefix, [1]);
        reader.read_exact(&mut chunk).await.unwrap();
        assert_eq!(reader.body_left(), 0);
    });
    assert!(chunk.iter().all(|byte| *byte == 7));
    assert!(inner.widest_read > chunk_bytes - READ_BUFFER_BYTES, "{}", inner.widest_read);
}

#[test]
fn asking_for_too_much_of_a_body_reads_nothing() {
    let mut reader = open_reader(one_frame(10), 3);
    block_on(async {
        reader.next_header().await.unwrap();
        let error = reader.read_exact(&mut [0; 11]).await.unwrap_err();
        assert!(matches!(error, LinkError::BodyTooShort { asked: 11, left: 10 }), "{error}");
        assert_eq!(reader.read_body().await.unwrap(), [7; 10]);
    });
}

#[test]
fn the_next_header_waits_for_the_whole_body_to_be_used() {
    let mut reader = open_reader([one_frame(10), one_frame(1)].concat(), 3);
    block_on(async {
        reader.next_header().await.unwrap();
        reader.read_exact(&mut [0; 4]).await.unwrap();
        let error = reader.next_header().await.unwrap_err();
        assert!(matches!(error, LinkError::BodyUnread { left: 6 }), "{error}");
        reader.skip().await.unwrap();
        assert_eq!(reader.next_header().await.unwrap().unwrap().body_bytes, 1);
    });
}

#[test]
fn a_control_body_above_its_limit_is_refused_before_allocation() {
    let mut reader = open_reader(one_frame(CONTROL_FRAME_BYTES_MAX + 1), 1 << 20);
    block_on(async {
        reader.next_header().await.unwrap();
        let error = reader.read_body().await.unwrap_err();
        assert!(matches!(error, LinkError::ControlTooLong { .. }), "{error}");
    });
}

#[test]
fn a_frame_cut_anywhere_is_an_error_and_breaks_the_reader() {
    let whole = one_frame(10);
    for cut in 1..whole.len() {
        let mut reader = open_reader(whole[..cut].to_vec(), 4);
        block_on(async {
            let error = match reader.next_header().await {
                Ok(_) => reader.read_body().await.unwrap_err(),
                Err(error) => error,
            };
            let missing = if cut < HEADER_BYTES { HEADER_BYTES - cut } else { whole.len() - cut };
            assert!(
                matches!(error, LinkError::ClosedInFrame { missing: found } if found == missing),
                "cut at {cut}: {error}"
            );
            assert!(matches!(reader.next_header().await, Err(LinkError::Broken)));
        });
    }
}

#[test]
fn a_frame_above_the_cap_of_an_unauthenticated_peer_is_refused() {
    let mut reader = FrameReader::new(Drip::of(one_frame(1 << 17), 1 << 20));
    let error = block_on(reader.next_header()).unwrap_err();
    assert!(matches!(error, LinkError::FrameTooLong { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_body_breaks_the_reader_and_a_cancelled_header_does_not() {
    let (near, mut far) = tokio::io::duplex(1 << 10);
    let mut reader = FrameReader::new(near);
    let limit = Duration::from_secs(1);
    tokio::io::AsyncWriteExt::write_all(&mut far, &[6, 0, 0]).await.unwrap();
    let silent = within(limit, "waiting", reader.next_header()).await.unwrap_err();
    assert!(matches!(silent, LinkError::Silent { doing: "waiting", .. }), "{silent}");
    tokio::io::AsyncWriteExt::write_all(&mut far, &[0, 20, 1, 9]).await.unwrap();
    assert_eq!(reader.next_header().await.unwrap().unwrap().body_bytes, 4);
    let silent = within(limit, "waiting", reader.read_body()).await.unwrap_err();
    assert!(matches!(silent, LinkError::Silent { .. }), "{silent}");
    assert!(matches!(reader.read_body().await, Err(LinkError::Broken)));
}
