//! What nobody was given yet and a revision contradicts is canceled (rule A9).

use expect_test::expect;

use crate::check;

// rule: A9, V5
#[test]
fn a_downgrade_that_is_no_longer_allowed_is_not_begun() {
    check(
        "baseline fix: openssl = 3.0.14
         baseline may on role=b downgrades priority 1: openssl = 3.0.14
         machine a: openssl 3.0.15 -> 3.0.15 3.0.14
         machine b role=b: openssl 3.0.15 -> 3.0.15 3.0.14
         activity a-1 Pending 10s: install fix openssl 3.0.14 from 3.0.15
         activity b-1 Pending 10s: install may openssl 3.0.14 from 3.0.15",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Pending A2: b-1 is Pending
            x a-1: Contradicted
        "#]],
    );
}

// rule: A9, A7
#[test]
fn what_comes_along_and_is_no_longer_allowed_is_not_begun() {
    check(
        "baseline fix: openssl >= 3.0.15
         baseline may on role=c downgrades removals priority 1: openssl >= 3.0.15
         machine a: openssl 3.0.14 -> 3.0.15; libssl3 3.0.16 -> 3.0.16; telnet 1
         machine b: openssl 3.0.14 -> 3.0.15; libssl3 3.0.16 -> 3.0.16; telnet 1
         machine c role=c: openssl 3.0.14 -> 3.0.15; libssl3 3.0.16 -> 3.0.16; telnet 1
         activity a-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14 with libssl3 3.0.15 from 3.0.16
         activity b-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14 with telnet - from 1
         activity c-1 Pending 10s: install may openssl 3.0.15 from 3.0.14 with libssl3 3.0.15 from 3.0.16, telnet - from 1",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Pending A2: b-1 is Pending
            ~ c: Pending A2: c-1 is Pending
            x a-1: Contradicted
            x b-1: Contradicted
        "#]],
    );
}

// rule: A9, A7
#[test]
fn what_comes_along_and_breaks_a_new_requirement_or_hold_is_not_begun() {
    check(
        "baseline fix: openssl >= 3.0.15
         baseline pin on role=a: libssl3 << 3.0.15
         baseline hold on role=b: zlib hold
         machine a role=a: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15
         machine b role=b ours zlib: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15; zlib 1 held -> 2
         machine c: openssl 3.0.14 -> 3.0.15; libssl3 3.0.14 -> 3.0.15
         activity a-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14 with libssl3 3.0.15 from 3.0.14
         activity b-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14 with zlib 2 from 1
         activity c-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14 with libssl3 3.0.15 from 3.0.14",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Pending A2: b-1 is Pending
            ~ c: Pending A2: c-1 is Pending
            x a-1: Contradicted
            x b-1: Contradicted
        "#]],
    );
}

// rule: A9, B1
#[test]
fn where_a_number_is_zero_by_now_nothing_begins() {
    check(
        "baseline fix: openssl >= 3.0.15
         budget none max 0 on role=x
         baseline off max 0 on role=y: openssl
         machine a role=x: openssl 3.0.14 -> 3.0.15
         machine b role=x: openssl 3.0.14 -> 3.0.15
         machine c role=y: openssl 3.0.14 -> 3.0.15
         machine d: openssl 3.0.14 -> 3.0.15
         activity a-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14
         activity b-1 Running 10s: install fix openssl 3.0.15 from 3.0.14
         activity c-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14
         activity d-1 Pending 10s: install fix openssl 3.0.15 from 3.0.14",
        expect![[r#"
            ~ a: Pending A2: a-1 is Pending
            ~ b: Running A2: b-1 is Running
            ~ c: Pending A2: c-1 is Pending
            ~ d: Pending A2: d-1 is Pending
            x a-1: Contradicted
            x c-1: Contradicted
        "#]],
    );
}
