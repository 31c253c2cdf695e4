//! The field F = GF(2^8) and bulk arithmetic over it.
//!
//! F = GF(2)\[a\] / (a^8 + a^4 + a^3 + a^2 + 1), the polynomial 0x11D; a byte's bit k is the
//! coefficient of a^k, addition is XOR. Code, generator rows and fingerprints all live over this
//! one field: that is what makes fingerprints commute with the code (docs/protocol.md 2.1).
//!
//! Two bulk operations stand on it: [`LinearMap`] (rows of coefficients applied to long byte
//! strings: encode and rebuild) and [`Horner`] (one constant matrix applied again and again to 64
//! lanes: the fingerprint).
//!
//! Spec: docs/protocol.md section 2.4.
//! Invariant: every kernel of [`Kernel::available`] gives the same bytes.

mod horner;
mod linear;
mod matrix;

pub use horner::{Fold, Horner, Kernel, LANES, Matrix, Planes};
pub use linear::{LinearMap, ShapeError};
pub use matrix::invert;

/// x^8 modulo the field polynomial: what a carry out of a doubling folds back to.
const REDUCTION: u8 = 0x1D;

/// Products of all pairs of elements: `PRODUCTS[a][b] = a * b`.
const PRODUCTS: &[[u8; 256]; 256] = &products();

/// Product of two field elements.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "a byte cannot leave a table of 256 entries")]
pub fn mul(a: u8, b: u8) -> u8 {
    PRODUCTS[usize::from(a)][usize::from(b)]
}

/// All products of one element: entry b is `a * b`.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "a byte cannot leave a table of 256 entries")]
pub fn products_of(a: u8) -> &'static [u8; 256] {
    &PRODUCTS[usize::from(a)]
}

/// Inverse of a non-zero element; `None` for zero.
#[must_use]
pub fn inverse(a: u8) -> Option<u8> {
    // a^254 = a^-1: 254 = 2 + 4 + ... + 128.
    let mut power = mul(a, a);
    let mut product = power;
    for _ in 0..6 {
        power = mul(power, power);
        product = mul(product, power);
    }
    (a != 0).then_some(product)
}

/// `accumulator += factor * values`, byte by byte; the shorter length counts.
pub fn add_scaled(accumulator: &mut [u8], factor: u8, values: &[u8]) {
    for (sum, value) in accumulator.iter_mut().zip(values) {
        *sum ^= mul(factor, *value);
    }
}

const fn double(a: u8) -> u8 {
    if a & 0x80 == 0 { a << 1 } else { (a << 1) ^ REDUCTION }
}

#[expect(clippy::indexing_slicing, reason = "a byte cannot leave a table of 256 entries")]
const fn products() -> [[u8; 256]; 256] {
    let mut table = [[0; 256]; 256];
    let mut a = 0_u8;
    loop {
        table[a as usize] = row(a);
        if a == u8::MAX {
            return table;
        }
        a += 1;
    }
}

/// Products of `a`, by linearity: the product with the highest set bit of b is a shifted, the rest
/// is already in the row.
#[expect(clippy::indexing_slicing, reason = "bit + low < 2 * bit <= 256; checked at compile time")]
const fn row(a: u8) -> [u8; 256] {
    let mut row = [0; 256];
    let mut shifted = a;
    let mut bit = 1;
    while bit < 256 {
        let mut low = 0;
        while low < bit {
            row[bit + low] = shifted ^ row[low];
            low += 1;
        }
        shifted = double(shifted);
        bit *= 2;
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Product from the definition: shift and reduce, no table.
    fn mul_by_definition(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 == 1 {
                product ^= a;
            }
            a = double(a);
            b >>= 1;
        }
        product
    }

    #[test]
    fn tables_equal_the_definition_and_the_library() {
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                assert_eq!(mul(a, b), mul_by_definition(a, b));
                assert_eq!(mul(a, b), rusty_erasure::gf::mul(a, b), "the library's field differs");
                assert_eq!(products_of(a)[usize::from(b)], mul(a, b));
            }
        }
    }

    #[test]
    fn every_element_but_zero_has_an_inverse() {
        assert_eq!(inverse(0), None);
        for a in 1..=u8::MAX {
            assert_eq!(mul(a, inverse(a).unwrap()), 1);
        }
    }

    #[test]
    fn two_generates_the_field() {
        let mut power = 1;
        for exponent in 1..255 {
            power = mul(power, 2);
            assert_ne!(power, 1, "2^{exponent} = 1");
        }
        assert_eq!(mul(power, 2), 1);
    }
}
