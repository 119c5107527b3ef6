//! Emergency numbers, by region.

/// A line for each region: its two letters, then its numbers as they are dialled there.
const TABLE: &str = include_str!("emergency.txt");

/// The emergency numbers of a region; none for a region that the table does not know.
pub(in crate::domain::identity) fn numbers(region: &str) -> impl Iterator<Item = &'static str> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let line = { lines }.find_map(|line| {
        let (name, numbers) = line.split_once(' ')?;
        name.eq_ignore_ascii_case(region).then_some(numbers)
    });
    line.unwrap_or_default().split_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn a_region_has_its_own_emergency_numbers() {
        for (region, number) in [("CZ", "112"), ("cz", "155"), ("US", "911"), ("GB", "999")] {
            assert!(
                numbers(region).any(|one| one == number),
                "{number} in {region}"
            );
        }
        for region in ["ZZ", "", "#", "Czechia"] {
            assert_eq!(numbers(region).count(), 0, "{region}");
        }
    }
}
