//! O1 to O7: waves, soak, bars, pauses, approvals, zones.

use expect_test::expect;

use crate::check;
use crate::story::judged;

const RINGS: &str = "
    00:00 machine a ring=canary
    00:00 machine b ring=canary
    00:00 machine c
    00:00 machine d
";

/// With a wave of canaries, as given, and more of the rollout.
fn story(wave: &str, more: &str, rest: &str) -> String {
    format!(
        "{RINGS}
        00:00 baseline fix {{\"rollout\": {{\"waves\": [{{\"name\": \"canary\", \"selector\": {{\"matchLabels\": {{\"ring\": \"canary\"}}}}{wave}}}], \"maxUnavailable\": 4, \"maxFailures\": 0{more}}}}}
        {rest}"
    )
}

const CANARIES: &str = "
    01:00 create a-1
    01:00 create b-1
    01:01 succeed a-1
    01:01 succeed b-1
    01:02 report a openssl=2 last=1
    01:02 report b openssl=2 last=1
";

// rule: O1, O2
#[test]
fn the_rest_waits_for_the_canaries() {
    check(
        &story("", "", "01:00 create c-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z O2 StartedBeforeItsWave c-1: openssl:amd64 2 has not passed wave canary: none of its machines has it, and b wants it [PackageBaseline/fix]
        "#]],
        &story("", "", &format!("{CANARIES} 01:03 create c-1")),
    );
    let half = "01:00 create a-1\n 01:01 succeed a-1\n 01:02 report a openssl=2 last=1\n";
    check(
        &story("", "", &format!("{half} 01:03 create c-1")),
        &expect![[r#"
            ! 2026-11-27T01:03:00Z O2 StartedBeforeItsWave c-1: openssl:amd64 2 has not passed wave canary: b wants it still [PackageBaseline/fix]
        "#]],
        &story("", "", &format!("{half} 01:03 gone b\n 01:04 create c-1")),
    );
    check(
        &story(
            "",
            "",
            "01:00 create a-1\n 01:00 create b-1\n 01:01 succeed a-1\n 01:02 report a openssl=2 last=1\n 01:03 create c-1",
        ),
        &expect![[r#"
            ! 2026-11-27T01:03:00Z O2 StartedBeforeItsWave c-1: openssl:amd64 2 has not passed wave canary: b-1 is under way [PackageBaseline/fix]
        "#]],
        &story("", "", CANARIES),
    );
}

// rule: O2
#[test]
fn a_wave_soaks() {
    let soaked = |at: &str| story(", \"soak\": \"1h\"", "", &format!("{CANARIES} {at} create c-1"));
    check(
        &soaked("02:00:58"),
        &expect![[r#"
            ! 2026-11-27T02:00:58Z O2 StartedBeforeItsWave c-1: openssl:amd64 2 has not passed wave canary: a has it since 2026-11-27T01:01:00Z, and it soaks until 2026-11-27T02:01:00Z [PackageBaseline/fix]
        "#]],
        &soaked("02:01"),
    );
    // Passed is passed: a canary that joins later does not take it back.
    let joined = story(
        ", \"soak\": \"1h\"",
        "",
        &format!("{CANARIES} 02:10 create c-1\n 02:11 machine e ring=canary\n 02:12 create d-1"),
    );
    assert_eq!(judged(&joined), "= nothing\n");
}

// rule: O2
#[test]
fn a_machine_that_failed_the_item_does_not_soak_though_its_packages_are_there() {
    let resumed = |end: &str| {
        judged(&story(
            ", \"soak\": \"1h\"",
            ", \"maxFailures\": 1",
            &format!(
                "00:30 gone b
                 01:00 create a-1
                 01:01 {end} a-1
                 01:02 report a openssl=2 last=1
                 01:10 approval go {{\"action\": \"Resume\"}}
                 01:20 create c-1"
            ),
        ))
    };
    assert_eq!(resumed("fail"), "= nothing\n");
    assert!(resumed("succeed").contains("a has it since"), "{}", resumed("succeed"));
}

// rule: O2
#[test]
fn a_wave_that_picks_nobody_passes_nothing() {
    check(
        &story("", "", "00:30 gone a\n 00:30 gone b\n 01:00 create c-1"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z O2 StartedBeforeItsWave c-1: openssl:amd64 2 has not passed wave canary: it picks no machine [PackageBaseline/fix]
        "#]],
        &story("", "", "00:30 report a openssl=2\n 00:30 report b openssl=2\n 01:00 create c-1"),
    );
}

// rule: O2
#[test]
fn a_person_may_pass_over_a_wave_without_evidence() {
    let resumed = story(
        "",
        "",
        "00:30 gone a\n 00:30 gone b\n 00:40 approval go {\"action\": \"Resume\"}\n 01:00 create c-1",
    );
    assert_eq!(judged(&resumed), "= nothing\n");
    // But not over one that is under way.
    let running =
        story("", "", "00:40 approval go {\"action\": \"Resume\"}\n 01:00 create a-1\n 01:00 create c-1");
    assert!(judged(&running).contains("a-1 is under way"), "{}", judged(&running));
}

// rule: O2
#[test]
fn a_machine_that_has_another_target_by_now_soaks_no_more() {
    // Version 2 is on offer.
    let started = |version: &str| {
        let baseline = format!(
            "00:01 baseline fix {{\"packages\": [{{\"name\": \"openssl\", \"version\": \"{version}\"}}], \"rollout\": {{\"waves\": [{{\"name\": \"canary\", \"selector\": {{\"matchLabels\": {{\"ring\": \"canary\"}}}}, \"soak\": \"1h\"}}], \"maxUnavailable\": 4, \"maxFailures\": 0}}}}"
        );
        let canaries = CANARIES.replace("create a-1", "create a-1 openssl=1..1.5");
        let canaries = canaries.replace("create b-1", "create b-1 openssl=1..1.5").replace("=2", "=1.5");
        judged(&story("", "", &format!("{baseline}\n{canaries} 01:30 create c-1 openssl=1..1.5")))
    };
    let soaks = "openssl:amd64 1.5 has not passed wave canary: a has it";
    assert!(started(">= 1.5").contains(soaks), "{}", started(">= 1.5"));
    assert!(!started("latest").contains(soaks), "{}", started("latest"));
}

// rule: O2
#[test]
fn who_comes_to_a_wave_that_was_passed_over_before_anything_started_soaks_for_itself() {
    let late = |word: &str| {
        judged(&story(
            ", \"soak\": \"1h\"",
            "",
            &format!(
                "00:30 gone a
                 00:30 gone b
                 {word}
                 00:50 machine a ring=canary
                 00:51 report a openssl=1
                 01:00 create a-1
                 01:00:30 create c-1
                 01:01 succeed a-1
                 01:02 report a openssl=2 last=1
                 01:10 create d-1"
            ),
        ))
    };
    assert_eq!(late("00:40 approval go {\"action\": \"Resume\"}\n"), "= nothing\n");
    let told = late("");
    assert!(told.contains("c-1: openssl:amd64 2 has not passed wave canary: a-1 is under way"), "{told}");
    assert!(told.contains("d-1: openssl:amd64 2 has not passed wave canary: a has it since"), "{told}");
}

// rule: O2, O3
#[test]
fn a_wave_that_somebody_passed_over_stays_passed_when_its_machines_come_later() {
    let late = |word: &str| {
        let soaking = story(
            ", \"soak\": \"1h\"",
            "",
            &format!(
                "{word} 01:00 create c-1
                 01:01 succeed c-1
                 01:02 report c openssl=2 last=1
                 01:10 create a-1
                 01:11 succeed a-1
                 01:12 report a openssl=2 last=1
                 01:20 create d-1"
            ),
        );
        crate::story::judged_late(&soaking, 150)
    };
    assert_eq!(late("00:40 approval go {\"action\": \"Resume\"}\n"), "= nothing\n");
    assert!(late("").contains("d-1: openssl:amd64 2 has not passed wave canary: a has it"), "{}", late(""));
}

// rule: O3, S1
#[test]
fn an_item_that_a_higher_priority_asks_for_is_not_barred_by_what_failed_for_a_lower_one() {
    let other = |priority: u32| {
        story(
            "",
            "",
            "01:00 create a-1
             01:01 fail a-1
             01:02 report a openssl=1 last=1
             01:02 report c openssl=1 curl=1
             01:03 baseline other {\"priority\": PRIORITY, \"packages\": [{\"name\": \"openssl\", \"version\": \">= 2\"}], \"rollout\": {\"maxUnavailable\": 4, \"maxFailures\": 0}}
             01:03 baseline curl {\"packages\": [{\"name\": \"curl\", \"version\": \">= 2\"}], \"rollout\": {\"maxUnavailable\": 4, \"maxFailures\": 0}}
             01:04 create c-1 {\"spec\": {\"steps\": [{\"timeout\": \"1h\", \"baselines\": [{\"kind\": \"PackageBaseline\", \"name\": \"fix\"}, {\"kind\": \"PackageBaseline\", \"name\": \"curl\"}, {\"kind\": \"PackageBaseline\", \"name\": \"other\"}], \"action\": {\"InstallPackages\": {\"requested\": [{\"name\": \"curl\", \"architecture\": \"amd64\", \"from\": \"1\", \"to\": \"2\"}, {\"name\": \"openssl\", \"architecture\": \"amd64\", \"from\": \"1\", \"to\": \"2\"}]}}}]}}",
        )
        .replace("PRIORITY", &priority.to_string())
    };
    assert_eq!(judged(&other(5)), "= nothing\n");
    assert!(judged(&other(0)).contains("StartedBarred c-1"), "{}", judged(&other(0)));
}

// rule: O3
#[test]
fn a_barred_item_starts_nowhere() {
    let failed = |most: u32| {
        story(
            "",
            "",
            "00:01 baseline fix {\"rollout\": {\"maxUnavailable\": 4, \"maxFailures\": MOST}}
             01:00 create a-1
             01:01 fail a-1
             01:02 report a openssl=1 last=1
             01:03 create c-1",
        )
        .replace("MOST", &most.to_string())
    };
    check(
        &failed(0),
        &expect![[r#"
        ! 2026-11-27T01:03:00Z O3 StartedBarred c-1: openssl:amd64 2 is barred since 2026-11-27T01:01:00Z: 1 machines failed it, and 0 may [PackageBaseline/fix]
    "#]],
        &failed(1),
    );
    let resumed =
        failed(0).replace("01:03 create", "01:02 approval go {\"action\": \"Resume\"}\n 01:03 create");
    assert_eq!(judged(&resumed), "= nothing\n");
    // A new target goes on.
    let newer = failed(0).replace(
        "01:03 create c-1",
        "01:02 baseline fix {\"packages\": [{\"name\": \"openssl\", \"version\": \">= 3\"}], \"rollout\": {\"maxUnavailable\": 4, \"maxFailures\": 0}}\n 01:03 create c-1 openssl=1..3",
    );
    assert_eq!(judged(&newer), "= nothing\n");
}

// rule: O2
#[test]
fn shares_of_the_rest_come_in_their_turn() {
    let tenth = "
        00:01 baseline fix {\"rollout\": {\"waves\": [{\"name\": \"first\", \"machines\": 1}], \"maxUnavailable\": 4, \"maxFailures\": 0}}
        01:00 create a-1
    ";
    check(
        &story("", "", &format!("{tenth} 01:00 create b-1")),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z O2 StartedBeforeItsWave b-1: openssl:amd64 2 has not passed wave first: nobody has it, and a-1 on a is under way [PackageBaseline/fix]
        "#]],
        &story(
            "",
            "",
            &format!(
                "{tenth} 01:01 succeed a-1\n 01:02 report a openssl=2 last=1\n 01:03 create b-1\n 01:03 create c-1"
            ),
        ),
    );
}

// rule: O6
#[test]
fn zones_take_turns() {
    let zones = |second: &str| {
        story(
            "",
            ", \"zoneKey\": \"zone\"",
            &format!(
                "00:01 machine a again ring=canary zone=x\n 00:01 machine b again ring=canary zone={second}\n 01:00 create a-1\n 01:00 create b-1"
            ),
        )
    };
    check(
        &zones("y"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z O6 StartedInTwoZones b-1: openssl:amd64 2 in zone "y", while a-1 is under way in one before it [PackageBaseline/fix]
    "#]],
        &zones("x"),
    );
    // A zone may be through without one of its machines, where another has the item or had it in between. Where another is
    // not waited for, it is not: what is under way there has been from the beginning.
    let blocked = zones("y").replace(
        "01:00 create b-1",
        "00:01 machine c again ring=canary zone=x\n 00:02 decided c Blocked V3\n 01:00 create b-1",
    );
    assert!(judged(&blocked).contains("StartedInTwoZones"), "{}", judged(&blocked));
    let had = blocked.replace("00:02 decided c Blocked V3", "00:02 report c openssl=2");
    assert_eq!(judged(&had), "= nothing\n");
    let between = blocked.replace(
        "01:00 create a-1",
        "00:50 create c-1\n 00:51 deliver c-1\n 00:52 start c-1 0\n 00:53 done c-1 0\n 00:54 succeed c-1
         00:55 report c openssl=2 last=1\n 01:00 create a-1",
    );
    assert!(!judged(&between).contains("StartedInTwoZones"), "{}", judged(&between));
    let before = between.replace("01:00 create a-1", "00:52 create a-1");
    assert!(judged(&before).contains("StartedInTwoZones"), "{}", judged(&before));
    // Who is in a wave by number is not told: nor whose zone of it this is.
    let half =
        zones("y").replace("\"waves\": [", "\"waves\": [{\"name\": \"half\", \"machines\": \"50%\"}, ");
    let half = half.replace("ring=canary", "ring=rest");
    assert!(!judged(&half).contains("StartedInTwoZones"), "{}", judged(&half));
    // A zone that has passed stays passed, whoever comes to want the item there.
    assert_eq!(judged(&zones("w")), "= nothing\n");
}

// rule: S1, O3
#[test]
fn what_is_barred_in_one_baseline_may_start_for_another_of_higher_priority() {
    let served = r#"{"spec": {"steps": [{"action": {"InstallPackages": {"requested": [{"name": "openssl", "architecture": "amd64", "from": "1", "to": "2"}]}}, "baselines": [{"kind": "PackageBaseline", "name": "fix"}, {"kind": "PackageBaseline", "name": "other"}], "timeout": "1h"}]}}"#;
    let other = |priority: i32| {
        format!(
            "00:00 machine a
             00:00 machine b
             00:00 baseline fix {{\"rollout\": {{\"maxUnavailable\": 4, \"maxFailures\": 0}}}}
             01:00 create a-1
             01:01 fail a-1
             02:00 baseline other {{\"priority\": {priority}}}
             03:00 create b-1 {served}"
        )
    };
    assert!(judged(&other(0)).contains("StartedBarred"));
    assert!(!judged(&other(5)).contains("StartedBarred"), "{}", judged(&other(5)));
}

// rule: S1
#[test]
fn a_kernel_baseline_of_higher_priority_decides_about_the_package_that_it_follows() {
    let two = |kernel: &str| {
        format!(
            "00:00 machine a
             00:00 baseline fix {{\"packages\": [{{\"name\": \"openssl\", \"version\": \">= 3\"}}]}}
             00:00 {kernel}
             01:00 create a-1"
        )
    };
    assert_eq!(judged(&two("kernel-baseline kernel")), "= nothing\n");
    assert!(judged(&two("kernel-baseline kernel {\"priority\": -1}")).contains("NotAsked"));
}

// rule: O7
#[test]
fn a_wave_that_asks_for_approval_waits_for_it() {
    let asks = |rest: &str| story(", \"approvalRequired\": true", "", rest);
    check(
        &asks("01:00 create a-1"),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z O7 StartedUnapproved a-1: wave canary asks for approval of openssl:amd64 2, and nobody gave it [PackageBaseline/fix]
    "#]],
        &asks("00:30 approval go\n 01:00 create a-1"),
    );
    let other = asks("00:30 approval go {\"item\": {\"package\": \"nginx\"}}\n 01:00 create a-1");
    assert_ne!(judged(&other), "= nothing\n");
}

// rule: O7
#[test]
fn a_pause_holds_until_somebody_resumes() {
    let paused = |rest: &str| {
        story("", "", &format!("00:30 approval stop {{\"action\": \"Pause\"}}\n {rest} 01:00 create a-1"))
    };
    check(
        &paused(""),
        &expect![[r#"
        ! 2026-11-27T01:00:00Z O7 StartedPaused a-1: openssl:amd64 2 is paused since 2026-11-27T00:30:00Z [RolloutApproval/stop]
    "#]],
        &paused("00:40 approval go {\"action\": \"Resume\"}\n"),
    );
    // Who goes on at once has seen the word; who goes on after a pause may not have.
    let late = |rest: &str| crate::story::judged_late(&paused(rest), 120);
    assert_eq!(late("00:59:59 approval go {\"action\": \"Resume\"}\n"), "= nothing\n");
    assert!(late("").contains("StartedPaused"));
}

/// Version 2 has come everywhere but to `d`; Git asks for 3 by now.
fn superseded(record: &str, rest: &str) -> String {
    let wants_3 = r#"{"packages": [{"name": "openssl", "version": ">= 3"}], "rollout": {"waves": [{"name": "canary", "selector": {"matchLabels": {"ring": "canary"}}}], "maxUnavailable": 4, "maxFailures": 0}}"#;
    story("", "", &format!("{CANARIES} {record} 02:00 baseline fix {wants_3}\n {rest}"))
}

// rule: O4
#[test]
fn the_last_released_target_stays_enforced_and_nothing_else_does() {
    check(
        &superseded("", "03:00 create d-1"),
        &expect![[r#"
            ! 2026-11-27T03:00:00Z S1 NotAsked d-1: openssl:amd64 goes to 2, and what is asked, by priority 0, is Present ">= 3" [PackageBaseline/fix]
        "#]],
        &superseded("01:03 released fix openssl=2\n", "03:00 create d-1"),
    );
    // Not one that was released before the last.
    let before_last = r#"03:00 released fix openssl=2
        03:01 baseline fix {"packages": [{"name": "openssl", "version": ">= 1.5"}], "rollout": {"waves": [], "maxUnavailable": 4, "maxFailures": 0}}
        03:02 released fix openssl=1.5"#;
    let last = format!(
        "{before_last}\n 03:03 baseline fix {{\"packages\": [{{\"name\": \"openssl\", \"version\": \">= 3\"}}]}}\n"
    );
    assert!(judged(&superseded("", &format!("{last} 04:00 create d-1"))).contains("NotAsked d-1"));
    assert!(
        !judged(&superseded("", &format!("{last} 04:00 create d-1 openssl=1..1.5"))).contains("NotAsked")
    );
    // Nor one that is not on record any more: it is barred, say.
    let barred = superseded("01:03 released fix openssl=2\n", "02:30 released fix\n 03:00 create d-1");
    assert!(judged(&barred).contains("NotAsked d-1"), "{}", judged(&barred));
}

// rule: O4, O6
#[test]
fn what_is_released_goes_on_in_all_waves_and_zones() {
    let newer = |record: &str| {
        superseded(
            record,
            "03:00 machine e ring=canary zone=x\n 03:00 machine f ring=canary zone=y\n 03:01 create e-1\n 03:01 create d-1",
        )
        .replace("\"maxFailures\": 0", "\"maxFailures\": 0, \"zoneKey\": \"zone\"")
    };
    assert_eq!(judged(&newer("01:03 released fix openssl=2\n")), "= nothing\n");
    let unreleased = judged(&newer(""));
    assert!(unreleased.contains("StartedBeforeItsWave d-1"), "{unreleased}");
}

// rule: O2, O4
#[test]
fn what_is_on_record_as_released_has_been_asked_for_and_has_passed_its_waves() {
    check(
        &story("", "", "01:00 released fix openssl=1.5"),
        &expect![[r#"
            ! 2026-11-27T01:00:00Z O4 ReleasedUnasked: openssl:amd64 1.5 is said to be released, and is not what is asked for [PackageBaseline/fix]
        "#]],
        &story("", "", "01:00 released fix openssl=1.5 found"),
    );
    check(
        &story("", "", "01:00 create a-1\n 01:00 create b-1\n 01:01 released fix openssl=2"),
        &expect![[r#"
            ! 2026-11-27T01:01:00Z O2 ReleasedTooEarly: openssl:amd64 2 is said to be released, and has not passed wave canary: a-1 is under way [PackageBaseline/fix]
        "#]],
        &story("", "", &format!("{CANARIES} 01:03 released fix openssl=2")),
    );
    assert!(judged("01:00 released fix openssl=2").contains("there is no such baseline"));
}

// rule: K1, O2
#[test]
fn a_kernel_passes_a_wave_when_it_runs_there() {
    let brings = |name: &str| {
        let package = "{\"name\": \"linux-image-amd64\", \"architecture\": \"amd64\"";
        let install = format!(
            "{{\"InstallPackages\": {{\"requested\": [{package}, \"from\": \"1\", \"to\": \"2\"}}]}}}}"
        );
        let followed = format!("{{\"package\": {package}}}, \"version\": \"2\"}}");
        let select = format!("{{\"SelectKernel\": {{\"release\": \"6.2\", \"followed\": {followed}}}}}");
        let reboot = "{\"Reboot\": {\"kernel\": \"6.2\"}}";
        let step = |action: &str| {
            format!(
                "{{\"action\": {action}, \"baselines\": [{{\"kind\": \"KernelBaseline\", \"name\": \"k\"}}], \"timeout\": \"30m\"}}"
            )
        };
        let steps = [step(&install), step(&select), step(reboot)].join(", ");
        format!("create {name} {{\"spec\": {{\"steps\": [{steps}]}}}}")
    };
    let story = |kernel: &str| {
        let waves =
            "\"waves\": [{\"name\": \"canary\", \"selector\": {\"matchLabels\": {\"ring\": \"canary\"}}}]";
        let rollout = format!("\"rollout\": {{\"maxUnavailable\": 2, \"maxFailures\": 0, {waves}}}");
        format!(
            "00:00 machine a ring=canary
             00:00 machine b
             00:00 kernel-baseline k {{\"packages\": [{{\"name\": \"linux-image-amd64\", \"version\": \">= 2\"}}], \"reboot\": \"WhenRequired\", {rollout}}}
             00:10 report a selects kernel=6.1 linux-image-amd64=1
             00:10 report b selects kernel=6.1 linux-image-amd64=1
             01:00 {}
             01:01 deliver a-1
             01:02 start a-1 0
             01:03 done a-1 0
             01:04 finish a-1 Interrupted WindowClosed
             01:05 report a selects kernel={kernel} linux-image-amd64=2 last=1
             02:00 {}",
            brings("a-1"),
            brings("b-1"),
        )
    };
    check(
        &story("6.1"),
        &expect![[r#"
        ! 2026-11-27T02:00:00Z O2 StartedBeforeItsWave b-1: linux-image-amd64:amd64 2 has not passed wave canary: a has it installed and does not run it [KernelBaseline/k]
    "#]],
        &story("6.2"),
    );
}

// rule: O3
#[test]
fn what_is_barred_or_paused_does_not_come_along_either() {
    let curl = r#"{"spec": {"steps": [{"action": {"InstallPackages": {"requested": [{"name": "curl", "architecture": "amd64", "to": "2"}], "dependencies": [{"name": "openssl", "architecture": "amd64", "from": "1", "to": "2"}]}}, "baselines": [{"kind": "PackageBaseline", "name": "curl"}], "timeout": "1h"}]}}"#;
    let along = |rest: &str| {
        story(
            "",
            "",
            &format!(
                "00:00 baseline curl {{\"packages\": [{{\"name\": \"curl\"}}]}}
                 {rest}
                 02:00 create b-1 {curl}"
            ),
        )
    };
    let barred = "01:00 create a-1\n 01:01 fail a-1\n";
    let of_higher = "01:30 baseline other {\"priority\": 5}\n";
    check(
        &along(barred),
        &expect![[r#"
            ! 2026-11-27T02:00:00Z O3 StartedBarred b-1: openssl:amd64 2 is barred since 2026-11-27T01:01:00Z: 1 machines failed it, and 0 may [PackageBaseline/fix]
        "#]],
        &along(&format!("{barred}{of_higher}")),
    );
    check(
        &along("00:30 approval stop {\"action\": \"Pause\"}\n"),
        &expect![[r#"
            ! 2026-11-27T02:00:00Z O7 StartedPaused b-1: openssl:amd64 2 is paused since 2026-11-27T00:30:00Z [RolloutApproval/stop]
        "#]],
        &along(""),
    );
}
