//! SHA-256 of two equal-length inputs at once with the SHA instructions.
//!
//! A round instruction has a latency of four cycles and can start every second cycle: one stream
//! waits half of the time, two streams fill the unit.
//!
//! Invariant: `hash_pair([a, b], tag)` is SHA-256(a || tag), SHA-256(b || tag).

#![expect(
    unsafe_code,
    reason = "SHA instructions, behind run-time detection; twin: the sha2 crate"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "constant indexes into fixed arrays, in a loop that must not branch"
)]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128,
};

const STREAMS: usize = 2;
const BLOCK_BYTES: usize = 64;

/// Initial state of SHA-256 (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Round constants (FIPS 180-4, section 4.2.2), four rounds to a row.
const ROUNDS: [[[u32; 4]; 4]; 4] = [
    [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    ],
    [
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    ],
    [
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    ],
    [
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ],
];

/// The state in the order of the round instruction.
#[derive(Clone, Copy)]
struct State {
    abef: __m128i,
    cdgh: __m128i,
}

/// Whether this processor has the instructions.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("avx")
}

/// SHA-256 of each input followed by the tag. The inputs have equal lengths.
pub(super) fn hash_pair(inputs: [&[u8]; STREAMS], tag: &[u8; 16]) -> [[u8; 32]; STREAMS] {
    let [first, second] = inputs;
    assert_eq!(first.len(), second.len(), "streams of one pair have one length");
    assert!(is_available(), "the kernel is selected only after detection");
    let bodies = inputs.map(|input| input.as_chunks::<BLOCK_BYTES>().0);
    let tails = inputs.map(|input| last_blocks(input, tag));
    let tail_blocks = (first.len() % BLOCK_BYTES + tag.len() + 9).div_ceil(BLOCK_BYTES);
    let mut states = [INITIAL; STREAMS];
    // SAFETY: `is_available` has just confirmed every feature that `compress` enables.
    unsafe {
        compress(&mut states, bodies);
        compress(&mut states, [&tails[0][..tail_blocks], &tails[1][..tail_blocks]]);
    }
    states.map(|state| {
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
            *bytes = big_endian(word);
        }
        digest
    })
}

#[expect(clippy::big_endian_bytes, reason = "SHA-256 defines its output as big-endian words")]
fn big_endian(word: u32) -> [u8; 4] {
    word.to_be_bytes()
}

#[expect(clippy::big_endian_bytes, reason = "SHA-256 defines its length field as big-endian")]
fn bit_length(bytes: usize) -> [u8; 8] {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    bytes.saturating_mul(8).to_be_bytes()
}

/// What follows the whole blocks of the input: rest, tag, padding and length, in one or two blocks.
fn last_blocks(input: &[u8], tag: &[u8; 16]) -> [[u8; BLOCK_BYTES]; 2] {
    let rest = input.as_chunks::<BLOCK_BYTES>().1;
    let content = rest.len() + tag.len();
    let end = (content + 9).next_multiple_of(BLOCK_BYTES);
    let mut blocks = [[0; BLOCK_BYTES]; 2];
    let bytes = blocks.as_flattened_mut();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()..content].copy_from_slice(tag);
    bytes[content] = 0x80;
    bytes[end - 8..end].copy_from_slice(&bit_length(input.len() + tag.len()));
    blocks
}

/// Absorbs the blocks of both streams; the shorter count of blocks is absorbed.
#[target_feature(enable = "sha,avx")]
fn compress(states: &mut [[u32; 8]; STREAMS], blocks: [&[[u8; BLOCK_BYTES]]; STREAMS]) {
    let mut state = [load_state(&states[0]), load_state(&states[1])];
    for (first, second) in blocks[0].iter().zip(blocks[1]) {
        let before = state;
        let mut words = [load_block(first), load_block(second)];
        sixteen_rounds(&mut state, &words, &ROUNDS[0]);
        for constants in &ROUNDS[1..] {
            words = words.map(|words| schedule(words));
            sixteen_rounds(&mut state, &words, constants);
        }
        for (state, before) in state.iter_mut().zip(before) {
            state.abef = _mm_add_epi32(state.abef, before.abef);
            state.cdgh = _mm_add_epi32(state.cdgh, before.cdgh);
        }
    }
    *states = state.map(|state| store_state(state));
}

/// Sixteen rounds of both streams, interleaved four at a time.
#[target_feature(enable = "sha,avx")]
#[inline]
fn sixteen_rounds(
    state: &mut [State; STREAMS],
    words: &[[__m128i; 4]; STREAMS],
    constants: &[[u32; 4]; 4],
) {
    for g in 0..4 {
        let constants = load_words(&constants[g]);
        for (state, words) in state.iter_mut().zip(words) {
            let input = _mm_add_epi32(words[g], constants);
            state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, input);
            let input = _mm_shuffle_epi32::<0x0E>(input);
            state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, input);
        }
    }
}

/// The sixteen message words of a block.
#[target_feature(enable = "sha,avx")]
#[inline]
fn load_block(block: &[u8; BLOCK_BYTES]) -> [__m128i; 4] {
    let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let (quarters, _) = block.as_chunks::<16>();
    std::array::from_fn(|g| _mm_shuffle_epi8(load_bytes(&quarters[g]), swap))
}

/// The next sixteen message words.
#[target_feature(enable = "sha,avx")]
#[inline]
fn schedule([w0, w1, w2, w3]: [__m128i; 4]) -> [__m128i; 4] {
    let w4 = next_words(w0, w1, w2, w3);
    let w5 = next_words(w1, w2, w3, w4);
    let w6 = next_words(w2, w3, w4, w5);
    [w4, w5, w6, next_words(w3, w4, w5, w6)]
}

#[target_feature(enable = "sha,avx")]
#[inline]
fn next_words(w0: __m128i, w1: __m128i, w2: __m128i, w3: __m128i) -> __m128i {
    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
    _mm_sha256msg2_epu32(sum, w3)
}

#[target_feature(enable = "sha,avx")]
fn load_state(state: &[u32; 8]) -> State {
    let (halves, _) = state.as_chunks::<4>();
    let cdab = _mm_shuffle_epi32::<0xB1>(load_words(&halves[0]));
    let efgh = _mm_shuffle_epi32::<0x1B>(load_words(&halves[1]));
    State { abef: _mm_alignr_epi8::<8>(cdab, efgh), cdgh: _mm_blend_epi16::<0xF0>(efgh, cdab) }
}

#[target_feature(enable = "sha,avx")]
fn store_state(State { abef, cdgh }: State) -> [u32; 8] {
    let feba = _mm_shuffle_epi32::<0x1B>(abef);
    let dchg = _mm_shuffle_epi32::<0xB1>(cdgh);
    let mut state = [[0_u32; 4]; 2];
    let [low, high] = &mut state;
    store_words(low, _mm_blend_epi16::<0xF0>(feba, dchg));
    store_words(high, _mm_alignr_epi8::<8>(dchg, feba));
    let [[a, b, c, d], [e, f, g, h]] = state;
    [a, b, c, d, e, f, g, h]
}

#[target_feature(enable = "avx")]
#[inline]
fn load_bytes(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes, and the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx")]
#[inline]
fn load_words(words: &[u32; 4]) -> __m128i {
    // SAFETY: the reference is to 16 readable bytes, and the load needs no alignment.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx")]
#[inline]
fn store_words(words: &mut [u32; 4], value: __m128i) {
    // SAFETY: the reference is to 16 writable bytes, and the store needs no alignment.
    unsafe { _mm_storeu_si128(words.as_mut_ptr().cast(), value) }
}
