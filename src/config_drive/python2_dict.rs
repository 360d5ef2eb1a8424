//! The order in which a dictionary of Python 2.7 lists its keys: that of its hash table (Objects/dictobject.c and
//! Objects/stringobject.c of CPython 2.7, 64-bit, hash randomisation off as it is by default).

/// The keys in a dictionary's order, when they are put into an empty one in the order given.
pub(super) fn order<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut table = Table::new(SMALLEST);
    for key in keys {
        table.insert(key);
    }
    table.slots.into_iter().flatten().collect()
}

const SMALLEST: usize = 8;

struct Table<'a> {
    /// A power of two of them, a third at least free.
    slots: Vec<Option<&'a str>>,
    used: usize,
}

impl<'a> Table<'a> {
    fn new(size: usize) -> Self {
        Self { slots: vec![None; size], used: 0 }
    }

    fn insert(&mut self, key: &'a str) {
        if !self.place(key) {
            return;
        }
        if self.used * 3 >= self.slots.len() * 2 {
            // Large dictionaries double, small ones quadruple.
            let wanted = self.used * if self.used > 50_000 { 2 } else { 4 };
            let mut size = SMALLEST;
            while size <= wanted {
                size *= 2;
            }
            let old = std::mem::replace(self, Self::new(size));
            for key in old.slots.into_iter().flatten() {
                self.place(key);
            }
        }
    }

    /// Puts the key where it belongs; says whether it is new.
    fn place(&mut self, key: &'a str) -> bool {
        let hash = hash(key);
        let mask = self.slots.len() as u64 - 1;
        let mut perturb = hash;
        let mut full = hash;
        loop {
            match self.slots.get_mut((full & mask) as usize) {
                Some(slot @ None) => {
                    *slot = Some(key);
                    self.used += 1;
                    return true;
                }
                Some(Some(there)) if *there == key => return false,
                _ => {}
            }
            // A third of the slots is free, and once the perturbation is used up the sequence visits all.
            full = full.wrapping_mul(5).wrapping_add(perturb).wrapping_add(1);
            perturb >>= 5;
        }
    }
}

/// The hash of a unicode string: code points, as in builds with 4-byte characters. That of a string of ASCII is the same.
fn hash(key: &str) -> u64 {
    let Some(first) = key.chars().next() else { return 0 };
    let mut hash = u64::from(u32::from(first)) << 7;
    let mut length = 0;
    for char in key.chars() {
        hash = hash.wrapping_mul(1_000_003) ^ u64::from(u32::from(char));
        length += 1;
    }
    hash ^= length;
    // -1 means an error to CPython.
    if hash == u64::MAX { u64::MAX - 1 } else { hash }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_that_python_2_7_is_known_for() {
        let order = |keys: &str| order(keys.split(' ')).join(" ");
        assert_eq!(order("a b c"), "a c b");
        assert_eq!(order("a b c d e f g h"), "a c b e d g f h");
        assert_eq!(order("one two three"), "three two one");
        assert_eq!(order("x y"), "y x");
        assert_eq!(order("a a b a"), "a b");
        assert_eq!(
            order(
                "uuid meta files admin_pass network_config public_keys hostname name launch_index availability_zone \
                   random_seed"
            ),
            "files admin_pass random_seed uuid availability_zone hostname launch_index meta public_keys network_config name"
        );
        assert_eq!(
            order(
                "ami-id ami-launch-index ami-manifest-path instance-id hostname local-ipv4 reservation-id \
                   security-groups public-keys local-hostname public-hostname public-ipv4 instance-type \
                   block-device-mapping placement instance-action"
            ),
            "local-ipv4 reservation-id public-keys security-groups ami-launch-index public-hostname hostname ami-id \
             instance-action local-hostname public-ipv4 block-device-mapping ami-manifest-path placement instance-type \
             instance-id"
        );
        assert_eq!(order("ключ größe 😀 role"), "ключ 😀 größe role");
        let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
        assert_eq!(
            order(&keys.join(" ")),
            "k13 k12 k11 k10 k17 k16 k15 k14 k19 k18 k3 k2 k1 k0 k7 k6 k5 k4 k9 k8 k28 k29 k22 k23 k20 k21 k26 k27 k24 k25"
        );
    }

    #[test]
    fn hashes_that_python_2_7_is_known_for() {
        assert_eq!(hash("a") as i64, 12_416_037_344);
        assert_eq!(hash(""), 0);
    }
}
