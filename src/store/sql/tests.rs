use super::pieces::{
    BAN_COLUMNS, EVENT_COLUMNS, FORM_COLUMNS, KEY_COLUMNS, MATCH_COLUMNS, RENEWAL_COLUMNS,
    SPOT_COLUMNS, TARGET_COLUMNS,
};
use crate::store::rows::{
    Entering, EventRow, FormRow, KeyRow, MatchRow, NewBanRow, NewTargetRow, RenewalRow, SpotRow,
};

#[test]
fn the_values_of_a_row_are_in_the_order_of_the_columns() {
    fn names(columns: &str) -> Vec<&str> {
        let names = columns.split(", ").filter_map(|one| one.split(' ').next());
        names.collect()
    }
    assert_eq!(names(BAN_COLUMNS), NewBanRow::FIELDS);
    assert_eq!(names(TARGET_COLUMNS), NewTargetRow::FIELDS);
    assert_eq!(names(KEY_COLUMNS), KeyRow::FIELDS);
    assert_eq!(names(RENEWAL_COLUMNS), RenewalRow::FIELDS);
    assert_eq!(names(EVENT_COLUMNS), EventRow::FIELDS);
    assert_eq!(names(MATCH_COLUMNS), MatchRow::FIELDS);
    assert_eq!(names(FORM_COLUMNS), FormRow::FIELDS);
    assert_eq!(names(SPOT_COLUMNS), SpotRow::FIELDS);
}
