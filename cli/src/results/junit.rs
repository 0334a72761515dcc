//! The service levels as JUnit XML, which CI systems show: a test case each, failed when it was broken.

use std::time::Duration;

use anyedge_sim::report::{Report, SloReport};
use quick_junit::{NonSuccessKind, Report as Suites, TestCase, TestCaseStatus, TestSuite};

/// The whole file.
pub(super) fn text(report: &Report) -> Result<String, String> {
    let mut suite = TestSuite::new(&report.topology);
    suite.set_time(Duration::from_secs_f64(report.wall_s));
    for (key, value) in [
        ("version", report.version.to_owned()),
        ("topology_hash", report.topology_hash.clone()),
        ("seed", report.seed.to_string()),
        ("digest", report.digest.clone()),
    ] {
        suite.add_property((key, value.as_str()));
    }
    for slo in &report.slos {
        suite.add_test_case(case(&report.topology, slo));
    }
    let mut suites = Suites::new("anyedge");
    suites.add_test_suite(suite);
    suites.to_string().map_err(|error| error.to_string())
}

fn case(topology: &str, slo: &SloReport) -> TestCase {
    let told = format!("measured {}", slo.measured);
    let status = if slo.kept {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(format!("{} {}: {told}", slo.of, slo.expect));
        status.set_type("SLO");
        status
    };
    let mut case = TestCase::new(format!("{} {}", slo.of, slo.expect), status);
    case.set_classname(topology);
    case.set_system_out(told);
    case
}
