use super::*;
use std::{collections::BTreeMap, iter};

type Model = BTreeMap<(u128, [u8; 16]), Entry>;

/// Marsaglia's xorshift: the same surprises on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    fn digest(&mut self) -> u128 {
        u128::from(self.roll()) << 64 | u128::from(self.roll())
    }
}

fn ban(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn entry(key: u128, ban: [u8; 16], starts: i64) -> Entry {
    Entry {
        key: Key::from(key),
        ban: BanId::from_bytes(ban),
        starts,
        ends: i64::MAX,
        list: 7,
        channels: 0b101,
        kind: 1,
        flags: 0,
    }
}

fn put(key: u128, number: u64) -> Change {
    Change::Put(entry(key, ban(number), 0))
}

fn remove(key: u128, number: u64) -> Change {
    Change::Remove(Key::from(key), BanId::from_bytes(ban(number)))
}

fn index_of(mut changes: Vec<Change>) -> Index {
    let mut index = Index::default();
    index.apply(&mut changes, |_, _| ());
    index
}

/// Bytes as anyone would count them who walked every allocation.
fn counted_bytes(index: &Index) -> usize {
    let mut nodes: Vec<_> = index.directory.iter().collect();
    nodes.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let leaves = nodes
        .iter()
        .flat_map(|node| node.leaves.iter().filter(|l| !l.is_empty()));
    let leaves: usize = leaves.map(|leaf| ARC_HEADER + size_of_val(&**leaf)).sum();
    let directory = ARC_HEADER + index.directory.len() * size_of::<usize>();
    let sieves = nodes.iter().filter(|node| node.sieve.is_some()).count();
    let nodes = nodes.len() * (ARC_HEADER + size_of::<Node>());
    directory + nodes + leaves + sieves * (64 + 4_096)
}

fn assert_same(index: &Index, model: &Model, strangers: &[u128]) {
    assert!(index.iter().eq(model.values()), "the walk differs");
    assert_eq!(index.len(), model.len());
    assert_eq!(index.is_empty(), model.is_empty());
    assert_eq!(index.bytes(), counted_bytes(index));
    for key in model.keys().map(|(key, _)| key).chain(strangers) {
        let expected = model
            .range((*key, [0; 16])..=(*key, [255; 16]))
            .map(|(_, e)| e);
        assert!(
            index.get(Key::from(*key)).iter().eq(expected.clone()),
            "{key:032x} differs"
        );
        assert!(
            expected.count() == 0 || index.may_hold(Key::from(*key)),
            "{key:032x} is denied"
        );
    }
}

/// Random batches over the keys that `draw` makes; every version kept is compared at the end.
fn live_through(seed: u64, rounds: u64, batch: u64, draw: impl Fn(&mut Dice) -> u128) {
    let mut dice = Dice(seed);
    let (mut index, mut model) = (Index::default(), Model::new());
    let (mut past, mut changes, mut known) = (Vec::new(), Vec::new(), Vec::new());
    let mut heard = Model::new();
    for round in 0..rounds {
        // Every other version is kept, so that some batches work in place and some copy.
        if round % 2 == 0 {
            past.push((index.clone(), model.clone()));
        }
        // The last third of the rounds mostly removes.
        let removals = if round * 3 > rounds * 2 { 8 } else { 3 };
        for turn in 0..dice.below(batch) {
            let again = known.len() as u64 > dice.below(batch);
            let key = if again {
                known[dice.index(known.len())]
            } else {
                draw(&mut dice)
            };
            let ban = ban(dice.below(3));
            if dice.below(10) < removals {
                model.remove(&(key, ban));
                changes.push(Change::Remove(Key::from(key), BanId::from_bytes(ban)));
            } else {
                let entry = entry(key, ban, (round * batch + turn).cast_signed());
                model.insert((key, ban), entry);
                changes.push(Change::Put(entry));
                known.push(key);
            }
        }
        index.apply(&mut changes, |before, after| {
            let place = |e: &Entry| (e.key.bits(), *e.ban.bytes());
            let gone = before.map(|e| (heard.remove(&place(e)), e));
            assert!(gone.is_none_or(|(gone, e)| gone == Some(*e)));
            let over = after.map(|e| heard.insert(place(e), *e));
            assert!(over.is_none_or(|over| over.is_none()));
        });
        assert!(changes.is_empty());
        assert_eq!(heard, model, "whoever only listens knows as much");
        let strangers: Vec<_> = (0..50).map(|_| draw(&mut dice)).collect();
        assert_same(&index, &model, &strangers);
    }
    for (version, model) in &past {
        assert_same(version, model, &[]);
    }
}

#[test]
fn it_answers_as_an_ordered_map_would_for_even_keys() {
    live_through(1, 60, 1_500, Dice::digest);
}

#[test]
fn it_answers_as_an_ordered_map_would_when_keys_repeat() {
    live_through(2, 400, 40, |dice| u128::from(dice.below(12)) << 122);
    live_through(3, 400, 40, |dice| u128::from(dice.below(12)));
}

#[test]
fn it_answers_as_an_ordered_map_would_when_keys_agree_on_many_bits() {
    live_through(4, 40, 1_500, |dice| dice.digest() >> 40);
    live_through(5, 40, 1_500, |dice| dice.digest() >> 100);
    live_through(6, 40, 1_500, |dice| dice.digest() >> dice.below(128));
    live_through(7, 40, 1_500, |dice| !(dice.digest() >> dice.below(128)));
}

#[test]
fn an_empty_index_bans_nobody() {
    let index = index_of(vec![remove(5, 1)]);
    assert!(index.is_empty());
    assert_eq!(index.get(Key::from(5)), []);
    assert_eq!(index.iter().count(), 0);
    assert!(index.bytes() < 2_000);
}

#[test]
fn of_two_changes_to_one_ban_the_later_counts() {
    let again = entry(1, ban(1), 99);
    let index = index_of(vec![put(1, 1), remove(1, 1), put(2, 1), Change::Put(again)]);
    assert_eq!(index.get(Key::from(1)), [again]);
    let index = index_of(vec![
        put(1, 1),
        put(1, 2),
        remove(1, 1),
        remove(2, 1),
        put(2, 1),
    ]);
    assert_eq!(index.get(Key::from(1)), [entry(1, ban(2), 0)]);
    assert_eq!(index.len(), 2);
}

#[test]
fn two_hundred_thousand_bans_made_one_by_one_are_all_found() {
    let (mut dice, mut index, mut changes) = (Dice(8), Index::default(), Vec::new());
    let keys: Vec<_> = (0..200_000).map(|_| dice.digest()).collect();
    let mut before = index.clone();
    for (made, key) in keys.iter().enumerate() {
        if made % 1_000 == 0 {
            assert_eq!(before.len(), made.saturating_sub(1_000));
            before = index.clone();
        }
        changes.push(put(*key, 1));
        index.apply(&mut changes, |_, _| ());
    }
    assert_eq!(index.len(), keys.len());
    assert!(
        keys.iter()
            .all(|key| index.get(Key::from(*key)) == [entry(*key, ban(1), 0)])
    );
    assert!(index.iter().is_sorted_by_key(Entry::place));
    assert_eq!(index.bytes(), counted_bytes(&index));
}

#[test]
fn ten_thousand_bans_of_one_customer_do_not_widen_the_directory() {
    let mut dice = Dice(9);
    let mut changes: Vec<_> = (0..10_000)
        .map(|number| put(u128::MAX / 3, number))
        .collect();
    let mut index = index_of(changes.clone());
    let bans: Vec<_> = index
        .get(Key::from(u128::MAX / 3))
        .iter()
        .map(|e| e.ban)
        .collect();
    assert_eq!(bans.len(), 10_000);
    assert!(bans.is_sorted());
    assert_eq!(index.directory.len(), 1);
    changes.extend((0..50_000).map(|_| put(dice.digest(), 1)));
    index.apply(&mut changes, |_, _| ());
    assert_eq!(index.len(), 60_000);
    assert!(index.directory.len() <= 32);
    assert_eq!(index.get(Key::from(u128::MAX / 3)).len(), 10_000);
    assert_eq!(index.get(Key::from(u128::MAX / 3 + 1)), []);
}

#[test]
fn a_load_in_key_order_ends_as_small_as_one_in_any_order() {
    let mut dice = Dice(10);
    let mut keys: Vec<_> = (0..100_000).map(|_| dice.digest()).collect();
    let load = |keys: &[u128]| {
        let mut index = Index::default();
        for page in keys.chunks(4_096) {
            index.apply(
                &mut page.iter().map(|key| put(*key, 1)).collect(),
                |_, _| (),
            );
        }
        index
    };
    let scattered = load(&keys);
    keys.sort_unstable();
    let ordered = load(&keys);
    assert!(ordered.iter().eq(scattered.iter()));
    for index in [scattered, ordered] {
        assert!((56 * keys.len()..60 * keys.len()).contains(&index.bytes()));
        assert_eq!(index.bytes(), counted_bytes(&index));
        assert!(index.directory.len() <= 128);
        let leaves = index.directory.iter().flat_map(|node| &node.leaves);
        assert!(leaves.map(|leaf| leaf.len()).max() < Some(4 * LEAF_TARGET));
    }
}

#[test]
fn keys_crowded_at_ever_deeper_bits_cannot_widen_the_directory_for_ever() {
    let crowded = |key: u128| (1 << (127 - 5 * (key % 5))) | key;
    let index = index_of((0..20_000).map(|key| put(crowded(key), 1)).collect());
    assert!(index.directory.len() > 1);
    assert!(index.directory.len() <= 20_000 / ENTRIES_PER_SLOT);
    assert!((0..20_000).all(|key| index.get(Key::from(crowded(key))).len() == 1));
}

#[test]
fn a_version_shares_with_the_next_all_but_what_changed() {
    let mut dice = Dice(11);
    let before = index_of((0..50_000).map(|_| put(dice.digest(), 1)).collect());
    let mut after = before.clone();
    after.apply(&mut vec![put(dice.digest(), 2)], |_, _| ());
    let leaves = |index: &Index| -> Vec<Leaf> {
        let runs = index.directory.chunk_by(Arc::ptr_eq);
        runs.flat_map(|run| run[0].leaves.iter().map(Arc::clone))
            .collect()
    };
    let pairs = leaves(&before).into_iter().zip(leaves(&after));
    assert_eq!(pairs.filter(|(old, new)| !Arc::ptr_eq(old, new)).count(), 1);
    assert_eq!(before.len() + 1, after.len());
}

/// However many there are, whether their keys are even or a few that come again and again.
#[test]
fn entries_filed_by_parts_are_those_put_one_by_one() {
    let mut dice = Dice(17);
    for round in 0..13 {
        let count = [0, 1, 50, 3_000, 9_000, 40_000][round % 6];
        let skewed = round > 6;
        let count = if skewed { count / 20 } else { count };
        let (mut parts, mut model) = (parts::Parts::default(), Model::new());
        let (mut index, mut changes) = (Index::default(), Vec::new());
        let mut file = |mut full| index.apply(&mut full, |_, _| ());
        for number in 0..count {
            let key = if skewed {
                u128::from(dice.below(40)) << 90
            } else {
                dice.digest()
            };
            let entry = entry(key, ban(dice.below(count / 2 + 1)), number.cast_signed());
            parts.add(entry).into_iter().for_each(&mut file);
            model.insert((key, *entry.ban.bytes()), entry);
            changes.push(Change::Put(entry));
        }
        iter::from_fn(|| parts.rest()).for_each(file);
        assert_same(&index, &model, &[0]);
        let bytes = index.bytes();
        iter::successors(Some(0), |slot| index.straighten(*slot)).for_each(drop);
        assert_same(&index, &model, &[0]);
        assert_eq!(index.bytes(), bytes);
        let one_by_one = index_of(changes);
        assert!(index.iter().eq(one_by_one.iter()), "round {round}");
        for (key, _) in model.keys().take(200) {
            let key = Key::from(*key);
            assert!(index.may_hold(key));
            assert_eq!(index.get(key), one_by_one.get(key));
        }
        grown_alike(index, one_by_one, &mut dice);
    }
}

/// A quarter of what is filed, in each of the parts.
#[test]
fn of_what_is_to_be_filed_little_waits_however_much_has_come() {
    let (mut dice, mut parts) = (Dice(5), parts::Parts::default());
    let (mut waiting, mut filed) = (0, 0);
    for number in 0..60_000 {
        let Change::Put(entry) = put(dice.digest(), number) else {
            unreachable!("this is what it puts");
        };
        waiting += 1;
        if let Some(full) = parts.add(entry) {
            waiting -= full.len();
            filed += full.len();
        }
        assert!(waiting <= 32 * 64 + filed / 4, "{waiting} beside {filed}");
    }
    let rest: usize = iter::from_fn(|| parts.rest()).map(|part| part.len()).sum();
    assert_eq!(rest, waiting);
}

/// What was filed by parts takes changes in as what was put one by one.
fn grown_alike(mut index: Index, mut other: Index, dice: &mut Dice) {
    for _ in 0..20 {
        let mut changes: Vec<_> = (0..300)
            .map(|_| put(dice.digest(), dice.below(9)))
            .collect();
        let there = index.iter().nth(dice.index(index.len().max(1)));
        changes.extend(there.map(|entry| Change::Remove(entry.key, entry.ban)));
        index.apply(&mut changes.clone(), |_, _| ());
        other.apply(&mut changes, |_, _| ());
    }
    assert!(index.iter().eq(other.iter()));
    assert_eq!(index.bytes(), counted_bytes(&index));
}
