//! Arithmetic in F\[y\] / p(y): elements are byte arrays, byte k the coefficient of y^k.

use crate::gf::{self, Matrix};

/// An element of the extension.
pub(super) type Element<const K: usize> = [u8; K];

/// The non-zero coefficients of p below its leading one: (power of y, coefficient).
pub(super) type Modulus = &'static [(usize, u8)];

/// y^16 + y^5 + y^2 + 2. No trinomial of this degree is irreducible over the field.
pub(super) const FP128: Modulus = &[(0, 2), (2, 1), (5, 1)];
/// y^8 + y^3 + y + 9. No trinomial of this degree is irreducible over the field either.
pub(super) const FP64: Modulus = &[(0, 9), (1, 1), (3, 1)];

/// y * element.
fn times_y<const K: usize>(element: &Element<K>, modulus: Modulus) -> Element<K> {
    let mut product = *element;
    product.rotate_right(1);
    let carry = product.first_mut().map_or(0, std::mem::take);
    for (power, coefficient) in modulus {
        if let Some(byte) = product.get_mut(*power) {
            *byte ^= gf::mul(*coefficient, carry);
        }
    }
    product
}

/// The matrix of multiplication by an element.
pub(super) fn matrix_of<const K: usize>(element: &Element<K>, modulus: Modulus) -> Matrix<K> {
    let mut matrix = [[0; K]; K];
    let mut column = *element;
    for j in 0..K {
        for (row, byte) in matrix.iter_mut().zip(column) {
            if let Some(entry) = row.get_mut(j) {
                *entry = byte;
            }
        }
        column = times_y(&column, modulus);
    }
    matrix
}

/// matrix * element.
pub(super) fn apply<const K: usize>(matrix: &Matrix<K>, element: &Element<K>) -> Element<K> {
    let mut product = [0; K];
    for (sum, row) in product.iter_mut().zip(matrix) {
        *sum = row.iter().zip(element).fold(0, |sum, (a, b)| sum ^ gf::mul(*a, *b));
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product<const K: usize>(a: &Element<K>, b: &Element<K>, p: Modulus) -> Element<K> {
        apply(&matrix_of(a, p), b)
    }

    /// The q-th power of an element, q = 256: eight squarings.
    fn frobenius<const K: usize>(a: &Element<K>, p: Modulus) -> Element<K> {
        (0..8).fold(*a, |power, _| product(&power, &power, p))
    }

    /// Rabin's test for degree K = 2^k: y^(q^K) = y, and y^(q^(K/2)) - y is a unit modulo p, that
    /// is, multiplication by it is an invertible matrix.
    fn is_irreducible<const K: usize>(p: Modulus) -> bool {
        let mut y = [0; K];
        y[1] = 1;
        let mut power = y;
        for _ in 0..K / 2 {
            power = frobenius(&power, p);
        }
        let difference: Element<K> = std::array::from_fn(|k| power[k] ^ y[k]);
        let rows: Vec<Vec<u8>> = matrix_of(&difference, p).iter().map(|row| row.to_vec()).collect();
        for _ in 0..K / 2 {
            power = frobenius(&power, p);
        }
        power == y && gf::invert(&rows).is_some()
    }

    #[test]
    fn both_moduli_are_irreducible() {
        assert!(is_irreducible::<16>(FP128));
        assert!(is_irreducible::<8>(FP64));
    }

    #[test]
    fn the_test_refuses_reducible_moduli() {
        assert!(!is_irreducible::<8>(&[(0, 1)]), "y^8 + 1 = (y + 1)^8");
        assert!(!is_irreducible::<8>(&[(0, 1), (1, 1)]), "y^8 + y + 1 has a factor of degree 2");
        assert!(!is_irreducible::<16>(&[(0, 1)]), "y^16 + 1 = (y + 1)^16");
    }
}
