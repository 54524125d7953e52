//! Rule files and dictionaries of the operator's own.

use interceptor_tests::{Lab, OPENAI, body};

const RULE: &str = "[[rule]]
id = \"corp.badge\"
entity = \"EMPLOYEE_BADGE\"
label = \"BADGE\"
severity = \"medium\"
confidence = 0.8
pattern = 'EMP-[0-9]{6}'
examples = [\"{{EMP-<digits:6>}}\"]
";

#[test]
fn a_bad_rule_file_leaves_the_old_rules_in_force_and_a_good_one_replaces_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let (rules, names, config) =
        (dir.path().join("corp.toml"), dir.path().join("names.txt"), dir.path().join("config.toml"));
    std::fs::write(&rules, RULE).expect("a rule file");
    std::fs::write(&names, "#: entity = \"CUSTOMER\"\n#: label = \"CUSTOMER\"\nAcme Holdings\n").expect("a dictionary");
    let (rules, names) = (rules.display(), names.display());
    std::fs::write(&config, format!("[rules]\nfiles = [\"{rules}\"]\ndictionaries = [\"{names}\"]\n"))
        .expect("a configuration");
    let lab = Lab::with(&["--config", config.to_str().expect("a path in UTF-8")]);
    let run = lab.sh(&format!(
        "cd $INTERCEPTOR_STATE
         ask() {{ curl -sS -o /dev/null -w '%{{http_code}} ' {OPENAI} -H 'content-type: application/json' -d '{asked}'; }}
         pid() {{ cat run/daemon.pid; }}
         said() {{ for n in $(seq 500); do grep -q \"$1\" run/journal.log && return; sleep 0.02; done; echo \"not said: $1\"; }}
         cp {rules} good.toml; old=$(pid); ask
         sed 's/EMP-\\[/(EMP-[/' good.toml > {rules}
         kill -HUP $old; said 'this daemon goes on.*corp.toml:7:1: rule corp.badge: Hyperscan cannot compile'
         ask; [ $(pid) = $old ] && echo same
         interceptor run --check --config lab/config.toml 2>&1; echo \"check: $?\"
         sed 's/EMP-/DMP-/g' good.toml > {rules}
         kill -HUP $old; for n in $(seq 500); do [ $(pid) != $old ] && break; sleep 0.02; done; ask
         ls rules | wc -l; stat -c %a rules",
        asked = body("badge EMP-123456 of ACME Holdings", false),
    ));
    let printed = run.ok();
    assert!(printed.starts_with("200 200 same\n") && !printed.contains("not said"), "{run}");
    assert!(printed.contains("corp.toml:7:1: rule corp.badge: ") && printed.contains("check: 2"), "{run}");
    assert!(printed.trim_end().ends_with("700"), "the cache is the daemon's alone: {run}");
    let found: Vec<Vec<String>> = lab
        .records()
        .iter()
        .map(|record| {
            let findings = record["findings"].as_array().expect("findings");
            findings.iter().map(|finding| finding["type"].as_str().expect("a type").to_owned()).collect()
        })
        .collect();
    let sorted = |mut types: Vec<String>| {
        types.sort();
        types
    };
    let found: Vec<_> = found.into_iter().map(sorted).collect();
    assert_eq!(found, [vec!["CUSTOMER", "EMPLOYEE_BADGE"], vec!["CUSTOMER", "EMPLOYEE_BADGE"], vec!["CUSTOMER"]]);
}
