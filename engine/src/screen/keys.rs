//! Keys that are held down.

/// A key that a game can be played by. `q`, Escape and Ctrl-C are not among them: they leave the battle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A key with a character on it, in lower case; the space bar is `' '`.
    Char(char),
    /// The arrow up.
    Up,
    /// The arrow down.
    Down,
    /// The arrow to the left.
    Left,
    /// The arrow to the right.
    Right,
    /// The enter key.
    Enter,
}

/// The keys that are held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// These keys, the one that was pressed first before the others.
    #[must_use]
    pub fn new(held: impl IntoIterator<Item = Key>) -> Self {
        Self(held.into_iter().collect())
    }

    /// Whether a key is held. Costs a walk over the held keys.
    #[must_use]
    pub fn is_held(&self, key: Key) -> bool {
        self.0.contains(&key)
    }

    /// −1, 0 or 1 by the keys for less and the keys for more; where some of both are held, the latest counts.
    #[must_use]
    pub fn axis(&self, less: &[Key], more: &[Key]) -> f32 {
        let of = |key: &Key| match (less.contains(key), more.contains(key)) {
            (true, _) => Some(-1.0),
            (_, true) => Some(1.0),
            _ => None,
        };
        self.0.iter().rev().find_map(of).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_two_opposite_keys_counts() {
        let axis = |held: &[Key]| {
            let keys = Keys::new(held.iter().copied());
            keys.axis(&[Key::Left, Key::Char('a')], &[Key::Right, Key::Char('d')])
        };
        assert_eq!(axis(&[]), 0.0);
        assert_eq!(axis(&[Key::Up]), 0.0);
        assert_eq!(axis(&[Key::Left, Key::Up]), -1.0);
        assert_eq!(axis(&[Key::Left, Key::Char('d')]), 1.0);
        assert_eq!(axis(&[Key::Char('d'), Key::Left, Key::Up]), -1.0);
    }
}
