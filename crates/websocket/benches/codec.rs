//! The time of the codec on one core: `cargo bench -p switchboard-websocket --bench codec`; `-- utf8` for a
//! part of it.
//!
//! `utf8` is the check of a text alone. Our check runs with each piece that comes, and `simdutf8` on the
//! whole text at once. For pieces of at most 256 bytes there is also a row of `simdutf8` on each piece.
//! `text` is the decoder with that check. The decoder also puts pieces together, and the same row of `binary`
//! measures that.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use switchboard_websocket::{
    Decoder, FrameHeader, Limits, Message, Opcode, Role, encode_frame, encode_frame_masked, mask, mask_scalar,
};

// The crate does not export the check.
#[allow(dead_code, unused_imports, reason = "the benchmark uses a part of it")]
#[path = "../src/buffer.rs"]
mod buffer;
#[allow(dead_code, unused_imports, reason = "the benchmark uses a part of it")]
#[path = "../src/utf8/mod.rs"]
mod utf8;

use utf8::Progress;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn masking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for len in [20, 1 << 10, 16 << 10, 1 << 20] {
        let mut data = vec![0x5A; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("vectors", len), |bencher| {
            bencher.iter(|| mask(black_box(&mut data), KEY, 0));
        });
        group.bench_function(BenchmarkId::new("scalar", len), |bencher| {
            bencher.iter(|| mask_scalar(black_box(&mut data), KEY, 0));
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for len in [20, 16 << 10] {
        let payload = vec![b'a'; len];
        let mut out = Vec::with_capacity(len + 14);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("server", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(&mut out, Opcode::Text, black_box(&payload));
            });
        });
        group.bench_function(BenchmarkId::new("client", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame_masked(&mut out, Opcode::Text, black_box(&payload), KEY);
            });
        });
    }
    group.finish();
}

/// Whole frames, as many as one read of 64 KiB has.
fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, opcode, payload) in [
        ("text 20 B", Opcode::Text, vec![b'a'; 20]),
        ("binary 20 B", Opcode::Binary, vec![0xAB; 20]),
        ("text 200 B", Opcode::Text, vec![b'a'; 200]),
        ("text 16 KiB", Opcode::Text, vec![b'a'; 16 << 10]),
        ("binary 16 KiB", Opcode::Binary, vec![0xAB; 16 << 10]),
    ] {
        for role in [Role::Server, Role::Client] {
            let mut frame = Vec::new();
            match role {
                Role::Server => encode_frame_masked(&mut frame, opcode, &payload, KEY),
                Role::Client => encode_frame(&mut frame, opcode, &payload),
            }
            let frames = ((64 << 10) / frame.len()).max(1);
            let stream = Stream { role, pieces: vec![frame.repeat(frames)] };
            group.throughput(Throughput::Elements(frames as u64));
            group.bench_function(BenchmarkId::new(format!("{role:?}"), name), |bencher| {
                bencher.iter_custom(|times| stream.decode(times));
            });
        }
    }
    group.finish();
}

/// 64 KiB do not fit into the first level of the cache.
const TEXT: usize = 64 << 10;

fn texts() -> [(&'static str, String); 2] {
    let korean = "가나다라 마바사 아자차카 타파하. ".repeat(TEXT / 45 + 1);
    let up_to_length = |len: &mut usize, c: char| {
        *len += c.len_utf8();
        (*len <= TEXT).then_some(c)
    };
    [("ascii", "abcdefgh".repeat(TEXT / 8)), ("korean", korean.chars().scan(0, up_to_length).collect())]
}

fn checking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (language, text) in texts() {
        let bytes = text.as_bytes();
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("simdutf8, whole", language), |bencher| {
            bencher.iter(|| simdutf8::basic::from_utf8(black_box(bytes)).is_ok());
        });
        for (split, sizes) in [
            ("whole", &[TEXT][..]),
            ("halves", &[TEXT / 2 + 1]),
            ("4 KiB", &[4 << 10]),
            ("1460 B", &[1460]),
            ("1 KiB", &[1 << 10]),
            ("256 B", &[256]),
            ("7 to 130 B", &[7, 100, 31, 130, 64]),
        ] {
            // Most of these ends are within a code point.
            let ends: Vec<usize> = ends(bytes.len(), sizes).collect();
            group.bench_function(BenchmarkId::new(split, language), |bencher| {
                bencher.iter(|| {
                    let mut progress = Progress::default();
                    ends.iter().all(|end| progress.check(black_box(&bytes[..*end])).is_ok())
                });
            });
            if sizes.iter().max() > Some(&256) {
                continue;
            }
            let boundary = |end: &usize| (0..=*end).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let ends: Vec<usize> = ends.iter().map(boundary).collect();
            group.bench_function(BenchmarkId::new(format!("simdutf8, {split}"), language), |bencher| {
                bencher.iter(|| {
                    let mut from = 0;
                    ends.iter().all(|end| {
                        let piece = &bytes[from..*end];
                        from = *end;
                        simdutf8::basic::from_utf8(black_box(piece)).is_ok()
                    })
                });
            });
        }
    }
    group.finish();
}

/// The ends of pieces of these sizes in turn.
fn ends(len: usize, sizes: &[usize]) -> impl Iterator<Item = usize> {
    let mut sizes = sizes.iter().cycle();
    std::iter::successors(Some(0), move |end| {
        (*end < len).then(|| len.min(end + sizes.next().unwrap_or(&len)))
    })
    .skip(1)
}

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Bytes(TEXT as u64));
    for (language, text) in texts() {
        for (split, fragments, reads) in [
            ("whole", vec![TEXT], vec![usize::MAX]),
            ("two reads", vec![TEXT], vec![TEXT / 2 + 1]),
            ("reads of 4001 B", vec![TEXT], vec![4001]),
            ("frames of 1000 B", vec![1000], vec![usize::MAX]),
            ("frames of 7 to 130 B", vec![7, 100, 31, 130, 64], vec![usize::MAX]),
        ] {
            for (kind, opcode) in [("text", Opcode::Text), ("binary", Opcode::Binary)] {
                let stream = Stream::fragmented(opcode, text.as_bytes(), &fragments, &reads);
                group.bench_function(BenchmarkId::new(format!("{kind}, {split}"), language), |bencher| {
                    bencher.iter_custom(|times| stream.decode(times));
                });
            }
        }
    }
    group.finish();
}

/// The reads of a connection.
struct Stream {
    role: Role,
    pieces: Vec<Vec<u8>>,
}

impl Stream {
    /// A message to a client in fragments of these sizes in turn, read in pieces of these sizes in turn.
    fn fragmented(opcode: Opcode, payload: &[u8], fragments: &[usize], reads: &[usize]) -> Self {
        let mut bytes = Vec::new();
        let (mut rest, mut opcode) = (payload, opcode);
        for size in fragments.iter().cycle() {
            let (fragment, behind) = rest.split_at(rest.len().min(*size));
            let header = FrameHeader::new(opcode, fragment.len()).fin(behind.is_empty());
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(fragment);
            (rest, opcode) = (behind, Opcode::Continuation);
            if rest.is_empty() {
                break;
            }
        }
        let (mut pieces, mut rest) = (Vec::new(), bytes.as_slice());
        for size in reads.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*size));
            pieces.push(piece.to_vec());
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        Self { role: Role::Client, pieces }
    }

    /// The time to decode all reads so many times. Where the decoder unmasks in place, the bytes are put
    /// back, and that time does not count.
    fn decode(&self, times: u64) -> Duration {
        let mut decoder = Decoder::new(self.role, Limits::default());
        let mut input = self.pieces.clone();
        let mut taken = Duration::ZERO;
        for _ in 0..times {
            let begun = Instant::now();
            for piece in &mut input {
                let mut pos = 0;
                while let Some(message) = decoder.decode(piece, &mut pos).unwrap_or_default() {
                    match message {
                        Message::Text(text) => drop(black_box(text)),
                        Message::Binary(bytes) => drop(black_box(bytes)),
                        _ => {}
                    }
                }
            }
            taken += begun.elapsed();
            if self.role == Role::Server {
                for (piece, pristine) in input.iter_mut().zip(&self.pieces) {
                    piece.copy_from_slice(pristine);
                }
            }
        }
        taken
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = masking, encoding, decoding, checking, text
}
criterion_main!(benches);
