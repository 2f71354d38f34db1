//! Values that many have alike, kept once: with a schema for each of thousands of customers, what is known of a table's
//! columns is the same thousands of times.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// Those that were seen so far.
#[derive(Debug)]
pub(crate) struct Interned<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Interned(HashSet::new())
    }
}

impl<T: ?Sized + Eq + Hash> Interned<T> {
    /// The one that is equal to this, which may be this one.
    pub(crate) fn one<V: AsRef<T>>(&mut self, value: V) -> Arc<T>
    where
        Arc<T>: From<V>,
    {
        if let Some(one) = self.0.get(value.as_ref()) {
            return Arc::clone(one);
        }
        // Before it grows, those that nobody has any more make way.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|one| Arc::strong_count(one) > 1);
        }
        let one = Arc::from(value);
        self.0.insert(Arc::clone(&one));
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_are_one() {
        let mut interned = Interned::<[String]>::default();
        let list = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let first = interned.one(list(&["id", "name"]));
        assert!(Arc::ptr_eq(&first, &interned.one(list(&["id", "name"]))));
        let other = interned.one(list(&["id"]));
        assert!(!Arc::ptr_eq(&first, &other) && other.len() == 1);
        let shared: Arc<[String]> = Arc::from(list(&["id"]));
        assert!(Arc::ptr_eq(&other, &interned.one(shared)));
    }

    #[test]
    fn what_nobody_has_any_more_is_forgotten() {
        let mut interned = Interned::<str>::default();
        let kept = interned.one("kept");
        for number in 0..10_000 {
            interned.one(number.to_string());
        }
        assert!(interned.0.len() < 100);
        assert!(Arc::ptr_eq(&kept, &interned.one("kept")));
    }
}
