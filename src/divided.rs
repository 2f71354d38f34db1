//! Dividing a buffer in two without holding its larger part twice.
//!
//! ```text
//!   bytes  [before ………][behind …]    rest  [r]
//!   bytes  [before ………]              rest  [r][behind …]
//! ```
//!
//! A batch is divided at its last mark. Behind it a value of 100 MB may stand alone, with little before it, or it may
//! be what is before it: the smaller of the two is copied, the larger one keeps the memory that it is in.

/// Moves what is behind the first `at` bytes to the end of `rest`.
pub(crate) fn divide(bytes: &mut Vec<u8>, at: usize, rest: &mut Vec<u8>) {
    let at = at.min(bytes.len());
    let kept = rest.len();
    if bytes.len() - at <= at + kept {
        rest.extend_from_slice(&bytes[at..]);
        bytes.truncate(at);
    } else {
        rest.extend_from_slice(&bytes[..at]);
        bytes.splice(..at, rest[..kept].iter().copied());
        rest.drain(..kept);
        std::mem::swap(bytes, rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_changes_places(
            before in proptest::collection::vec(any::<u8>(), 0..40),
            behind in proptest::collection::vec(any::<u8>(), 0..40),
            kept in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let (mut bytes, mut rest) = ([&before[..], &behind].concat(), kept.clone());
            divide(&mut bytes, before.len(), &mut rest);
            prop_assert_eq!(bytes, before);
            prop_assert_eq!(rest, [kept, behind].concat());
        }
    }

    #[test]
    fn the_larger_part_stays_where_it_is() {
        for (before, behind) in [(10, 1 << 20), (1 << 20, 10)] {
            let (mut bytes, mut rest) = (vec![0; before + behind], Vec::new());
            let place = bytes.as_ptr();
            divide(&mut bytes, before, &mut rest);
            let larger = if before > behind { &bytes } else { &rest };
            assert_eq!(larger.as_ptr(), place);
            assert!(bytes.capacity() + rest.capacity() < (1 << 20) + 1024);
        }
    }

    #[test]
    fn behind_the_end_there_is_nothing() {
        let (mut bytes, mut rest) = (vec![1, 2], vec![3]);
        divide(&mut bytes, 5, &mut rest);
        assert_eq!((bytes, rest), (vec![1, 2], vec![3]));
    }
}
