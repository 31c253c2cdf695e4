//! Inversion of small dense matrices over the field.
//!
//! Used once per repair plan, on as many rows as data chunks are missing.

use super::{add_scaled, inverse, mul};

/// Inverse of a square matrix given as rows; `None` if it is singular or not square.
///
/// Cost: about 2 * n^3 field multiplications (Gauss and Jordan, row pivoting).
#[must_use]
pub fn invert(rows: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let n = rows.len();
    if rows.iter().any(|row| row.len() != n) {
        return None;
    }
    let mut work: Vec<Vec<u8>> =
        rows.iter().enumerate().map(|(i, row)| beside_unit(row, i)).collect();
    for column in 0..n {
        let pivot = (column..n).find(|&i| entry(&work, i, column) != 0)?;
        work.swap(column, pivot);
        let scale = inverse(entry(&work, column, column))?;
        let mut reduced = work.get(column)?.clone();
        for value in &mut reduced {
            *value = mul(*value, scale);
        }
        for (i, row) in work.iter_mut().enumerate() {
            if i == column {
                row.clone_from(&reduced);
            } else if let Some(&factor) = row.get(column) {
                add_scaled(row, factor, &reduced);
            }
        }
    }
    Some(work.into_iter().map(|mut row| row.split_off(n)).collect())
}

/// The row followed by row `i` of the identity.
fn beside_unit(row: &[u8], i: usize) -> Vec<u8> {
    row.iter().copied().chain((0..row.len()).map(|j| u8::from(i == j))).collect()
}

fn entry(rows: &[Vec<u8>], i: usize, j: usize) -> u8 {
    rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_with_the_inverse_is_the_identity() {
        let rows = vec![vec![0, 1, 7], vec![3, 9, 2], vec![200, 5, 1]];
        let inverted = invert(&rows).unwrap();
        for (i, row) in rows.iter().enumerate() {
            let mut product = vec![0; 3];
            for (factor, other) in row.iter().zip(&inverted) {
                add_scaled(&mut product, *factor, other);
            }
            let unit: Vec<u8> = (0..3).map(|j| u8::from(i == j)).collect();
            assert_eq!(product, unit);
        }
    }

    #[test]
    fn singular_and_ragged_matrices_are_refused() {
        assert_eq!(invert(&[vec![1, 2], vec![1, 2]]), None);
        assert_eq!(invert(&[vec![1, 2], vec![1]]), None);
        assert_eq!(invert(&[]), Some(vec![]));
    }
}
