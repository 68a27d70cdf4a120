//! The cache against a list that is searched from end to end, and its rules one by one.

use std::net::Ipv4Addr;

use hickory_proto::rr::{
    Record,
    rdata::{A, SOA},
};
use proptest::{collection::vec, prelude::*};

use super::*;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn key(number: u8) -> Key {
    Key::new(&Name::from_ascii(format!("N{number}.Example.")).unwrap(), RecordType::A)
}

/// Records with these TTLs; the last byte of the address tells answers apart.
fn success(mark: u8, ttls: &[u32]) -> Arc<Found> {
    let record = |ttl: &u32| {
        Record::from_rdata(key(0).name, *ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, mark))))
    };
    Arc::new(Found { answers: ttls.iter().map(record).collect(), ..Found::default() })
}

fn denial(ttl: u32, minimum: u32) -> Arc<Found> {
    let root = Name::root();
    let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, minimum);
    let soa = Record::from_rdata(root, ttl, RData::SOA(soa));
    Arc::new(Found { rcode: ResponseCode::NXDomain, authorities: vec![soa], ..Found::default() })
}

fn failure() -> Arc<Found> {
    Arc::new(Found { rcode: ResponseCode::ServFail, ..Found::default() })
}

/// TTL, refresh and staleness.
fn told(hit: &Hit) -> Option<(u32, bool, bool)> {
    match hit {
        Hit::Miss => None,
        Hit::Found { ttl, refresh, stale, .. } => Some((*ttl, *refresh, *stale)),
    }
}

#[test]
fn times_are_within_their_bounds() {
    let mut cache = Cache::new(CacheOptions::default());
    let now = Instant::now();
    for (found, ttl) in [
        (success(1, &[60, 40, 50]), 40),
        (success(1, &[0]), 5),
        (success(1, &[86_400]), 900),
        (denial(20, 300), 20),
        (denial(300, 20), 20),
        (denial(300, 300), 30),
        (denial(1, 1), 5),
        (Arc::new(Found::default()), 5),
        (failure(), 5),
    ] {
        assert_eq!(cache.put(key(1), Arc::clone(&found), now), (ttl, 0), "{found:?}");
        let last = now + seconds(u64::from(ttl)) - Duration::from_millis(1);
        assert_eq!(told(&cache.get(&key(1), last)), Some((1, false, false)), "{found:?}");
        assert_eq!(told(&cache.get(&key(1), now + seconds(u64::from(ttl)))), None, "{found:?}");
    }
}

#[test]
fn what_ends_first_makes_room_among_its_kind() {
    let options = CacheOptions { entries: 2, denial_entries: 1, ..CacheOptions::default() };
    let mut cache = Cache::new(options);
    let now = Instant::now();
    assert_eq!(cache.put(key(1), success(1, &[90]), now), (90, 0));
    assert_eq!(cache.put(key(2), success(2, &[10]), now), (10, 0));
    assert_eq!(cache.put(key(3), denial(9, 9), now), (9, 0));
    assert_eq!(cache.put(key(4), success(4, &[50]), now), (50, 1));
    let known = [1, 2, 3, 4].map(|number| told(&cache.get(&key(number), now)).is_some());
    assert_eq!(known, [true, false, true, true]);
    assert_eq!(cache.put(key(5), failure(), now), (5, 1));
    assert_eq!(cache.len(), [2, 1]);
    let mut none = Cache::new(CacheOptions { entries: 0, ..CacheOptions::default() });
    none.put(key(1), success(1, &[90]), now);
    assert_eq!(none.len(), [0, 0]);
}

#[test]
fn cut_answers_are_not_kept() {
    let mut cache = Cache::new(CacheOptions::default());
    let now = Instant::now();
    let cut = Found { truncated: true, ..Found::clone(&success(1, &[60])) };
    cache.put(key(1), Arc::new(cut), now);
    assert_eq!(cache.len(), [0, 0]);
}

/// RFC 8767: an answer outlives its end, one refresh is asked for at a time, and a failure does not
/// take its place.
#[test]
fn stale_answers_are_served_for_a_while() {
    let options = CacheOptions { serve_stale: seconds(100), ..CacheOptions::default() };
    let mut cache = Cache::new(options);
    let now = Instant::now();
    cache.put(key(1), success(1, &[10]), now);
    let over = now + seconds(10);
    assert_eq!(told(&cache.get(&key(1), over)), Some((0, true, true)));
    assert_eq!(told(&cache.get(&key(1), over)), Some((0, false, true)), "one refresh");
    cache.put(key(1), failure(), over);
    assert_eq!(told(&cache.get(&key(1), over)), Some((0, true, true)), "asked again");
    cache.gave_up(&key(1));
    assert_eq!(told(&cache.get(&key(1), over + seconds(99))), Some((0, true, true)));
    assert_eq!(told(&cache.get(&key(1), over + seconds(100))), None);
    assert_eq!(cache.len(), [0, 0]);
    // Failures have no afterlife, and replace what is over.
    cache.put(key(1), failure(), now);
    assert_eq!(told(&cache.get(&key(1), now + seconds(5))), None);
}

#[test]
fn what_is_asked_often_is_asked_again_before_its_end() {
    let prefetch = Some(Prefetch::after(2));
    let mut cache = Cache::new(CacheOptions { prefetch, ..CacheOptions::default() });
    let now = Instant::now();
    cache.put(key(1), success(1, &[100]), now);
    assert_eq!(told(&cache.get(&key(1), now + seconds(89))), Some((11, false, false)), "too early");
    assert_eq!(told(&cache.get(&key(1), now + seconds(90))), Some((10, true, false)));
    assert_eq!(told(&cache.get(&key(1), now + seconds(91))), Some((9, false, false)), "once");
    cache.put(key(1), success(1, &[300]), now);
    cache.get(&key(1), now + seconds(200));
    let rare = cache.get(&key(1), now + seconds(290));
    assert_eq!(told(&rare), Some((10, false, false)), "the pause was too long");
}

/// What the list remembers of an answer.
struct Known {
    key: u8,
    mark: u8,
    until: Duration,
}

#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, mark: u8, ttl: u32 },
    Get { key: u8 },
    Wait { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_u8, any::<u8>(), 0..40_u32).prop_map(|(key, mark, ttl)| Step::Put { key, mark, ttl }),
        4 => (0..6_u8).prop_map(|key| Step::Get { key }),
        2 => (1..15_000_u64).prop_map(|millis| Step::Wait { millis }),
    ]
}

proptest! {
    #[test]
    fn the_cache_says_what_a_list_says(steps in vec(step(), 0..120), stale in 0..20_u64) {
        let options = CacheOptions {
            entries: 3,
            max_ttl: seconds(30),
            serve_stale: seconds(stale),
            ..CacheOptions::default()
        };
        let mut cache = Cache::new(options);
        let mut list: Vec<Known> = Vec::new();
        let (start, mut time) = (Instant::now(), Duration::ZERO);
        for step in steps {
            match step {
                Step::Wait { millis } => time += Duration::from_millis(millis),
                Step::Put { key: number, mark, ttl } => {
                    cache.put(key(number), success(mark, &[ttl]), start + time);
                    list.retain(|known| known.key != number);
                    if list.len() == 3 {
                        // The first of those that end first: the list is in the order of arrival.
                        let ends = list.iter().enumerate().min_by_key(|(_, known)| known.until);
                        let first = ends.map(|(index, _)| index).unwrap();
                        list.remove(first);
                    }
                    let until = time + seconds(ttl.clamp(5, 30).into());
                    list.push(Known { key: number, mark, until });
                },
                Step::Get { key: number } => {
                    list.retain(|known| known.key != number || time < known.until + seconds(stale));
                    let said = match cache.get(&key(number), start + time) {
                        Hit::Miss => None,
                        Hit::Found { found, ttl, stale, .. } => {
                            let RData::A(A(address)) = found.answers[0].data else { panic!() };
                            Some((address.octets()[3], ttl, stale))
                        },
                    };
                    let wanted = list.iter().find(|known| known.key == number).map(|known| {
                        let left = known.until.saturating_sub(time);
                        let ttl = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                        (known.mark, u32::try_from(ttl).unwrap(), left.is_zero())
                    });
                    prop_assert_eq!(said, wanted);
                },
            }
            prop_assert_eq!(cache.len(), [list.len(), 0]);
        }
    }
}
