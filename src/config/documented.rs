//! Holds the table of the README and the settings that there are together.

use super::SETTINGS;

/// The README's table, as it should be.
fn table() -> String {
    let rows = SETTINGS.iter().map(|setting| {
        let (name, about) = (setting.name, setting.about);
        let default = match setting.default {
            "" => String::new(),
            default => format!("`{default}` "),
        };
        let variable = name.to_uppercase();
        format!("| `{name}` | `BANCHECK_{variable}` | {default}| {about} |\n")
    });
    let head = "| setting | variable | default | meaning |\n|---|---|---|---|\n";
    std::iter::once(head.to_owned()).chain(rows).collect()
}

#[test]
fn the_readme_has_a_row_for_each_setting_with_its_default_and_no_others() {
    let table = table();
    let readme = include_str!("../../README.md");
    let (_, after) = readme.split_once("## Configuration").unwrap();
    let (section, _) = after.split_once("\n## ").unwrap();
    let is_row = |line: &&str| line.starts_with('|');
    let there: Vec<_> = section.lines().filter(is_row).collect();
    assert!(
        there.iter().eq(table.lines().collect::<Vec<_>>().iter()),
        "the table of README.md's \"Configuration\" should be:\n\n{table}"
    );
}
