//! The page that `anyedge sim --report` writes: the same bytes each time, nothing from elsewhere, no text of a topology as
//! markup; and in a real browser, on a screen and on a phone, in light and in dark.
//!
//! What the browser shows is kept as PNG in the target folder's `tmp/`. Needs `chromium`; that part is skipped loudly without.

use std::fs;
use std::path::{Path, PathBuf};

use anyedge_tests::binary::{Profile, root, run};
use anyedge_tests::chromium::{Chromium, Screen};
use anyedge_tests::labs::text;
use anyedge_tests::two_machines::Scratch;

const SECTIONS: [&str; 8] = [
    "map", "levels", "latency", "timeline", "budget", "cities", "shares", "drops",
];
const SCREEN: Screen = Screen {
    width: 1280,
    height: 900,
    dark: false,
    phone: false,
};
const PHONE: Screen = Screen {
    width: 390,
    height: 844,
    dark: false,
    phone: true,
};

/// A folder of pages, gone when the test ends.
struct Pages(Scratch);

impl Pages {
    fn new() -> Pages {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path()).expect("a folder of our own");
        Pages(scratch)
    }

    /// Runs a topology and gives its page.
    fn write(&self, name: &str, topology: &str, more: &[&str]) -> PathBuf {
        let page = self.0.path().join(name);
        let path = page.display().to_string();
        let words = [&["sim", "-q", topology, "--report", &path], more].concat();
        let ran = run(Profile::Debug, &words);
        assert!(
            matches!(ran.status.code(), Some(0 | 1)),
            "{}",
            text(&ran.stderr)
        );
        page
    }
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).expect("it was written")
}

#[test]
fn a_page_is_the_same_each_time_and_needs_nothing_else() {
    let pages = Pages::new();
    let two_pops = "topologies/two-pops.toml";
    let one = read(&pages.write("one.html", two_pops, &[]));
    let again = read(&pages.write("again.html", two_pops, &[]));
    assert!(one == again, "the same run, other bytes");
    let other = read(&pages.write("other.html", two_pops, &["--seed", "7"]));
    assert!(one != other);
    for section in SECTIONS {
        assert!(
            one.contains(&format!("<section id=\"{section}\">")),
            "{section}"
        );
    }
    for outside in [
        "http://", "https://", "<link", "<img", "@import", "url(", " src=",
    ] {
        assert!(!one.contains(outside), "{outside}");
    }
}

#[test]
fn text_of_a_topology_is_never_markup() {
    let pages = Pages::new();
    let file = fs::read_to_string(root().join("topologies/two-pops.toml")).expect("it is shipped");
    let evil =
        r#"</title></style></script><script>document.title = "taken"</script><b id='taken'>\"'&"#;
    let quoted = evil.replace(r#"""#, r#"\""#).replace(r#"\\""#, r#"\""#);
    let hostile: String = file
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((key @ ("name" | "description" | "source"), _)) => {
                format!("{key} = \"{quoted}\"\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let hostile = hostile.replace("rtt = \"52ms\"", "rtt = \"52ms\"\nassumed = true");
    let path = pages.0.path().join("hostile.toml");
    fs::write(&path, hostile).expect("a folder of our own");
    let page = pages.write(
        "hostile.html",
        &path.display().to_string(),
        &["--duration", "2s"],
    );
    let told = read(&page);
    assert!(told.contains("&lt;script&gt;document.title"), "it is told");
    assert!(!told.contains("<script>document"));
    assert!(!told.contains("<b id='taken'>"));
    if is_there() {
        let mut browser = Chromium::start();
        browser.open(&page, SCREEN);
        assert_ne!(browser.evaluate("document.title"), "taken");
        assert!(
            browser
                .evaluate("document.getElementById('taken')")
                .is_null()
        );
        assert!(
            browser
                .evaluate("document.querySelector('h1').textContent")
                .as_str()
                .is_some_and(|name| name.contains("<script>"))
        );
        assert!(
            browser.complaints().is_empty(),
            "{:?}",
            browser.complaints()
        );
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn is_there() -> bool {
    let is_there = Chromium::is_there();
    if !is_there {
        eprintln!("SKIPPED: what a browser shows needs chromium");
    }
    is_there
}

#[test]
fn a_browser_shows_every_section_sorts_tables_and_tells_values() {
    if !is_there() {
        return;
    }
    let pages = Pages::new();
    let page = pages.write(
        "world.html",
        "topologies/global-14.toml",
        &["--duration", "24s"],
    );
    let mut browser = Chromium::start();
    browser.open(&page, SCREEN);
    for section in SECTIONS {
        let high =
            format!("document.querySelector('section#{section}').getBoundingClientRect().height");
        assert!(
            browser
                .evaluate(&high)
                .as_f64()
                .is_some_and(|high| high > 60.0),
            "{section}"
        );
    }
    let shown = |what: &str| format!("[...document.querySelectorAll('.wide {what}')].length");
    for (what, least) in [
        ("svg.map .way", 40),
        ("svg.map .backbone", 14),
        ("svg.map .pop", 14),
        ("svg.map .land", 1),
        ("svg.strip", 4),
        (".gap", 1),
    ] {
        let count = browser.evaluate(&shown(what)).as_u64();
        assert!(
            count.is_some_and(|count| count >= least),
            "{what}: {count:?}"
        );
    }
    sorts(&mut browser);

    browser.hover(".wide svg.strip");
    let told = browser.evaluate("document.getElementById('tip').innerText");
    assert!(
        told.as_str()
            .is_some_and(|told| told.contains("answered: ")),
        "{told}"
    );
    browser.click(".chip[data-pop='tokyo']");
    let chosen = "[...document.querySelectorAll('.wide svg.map.focused .way.chosen')].every((way) => way.dataset.pop === 'tokyo')";
    assert_eq!(browser.evaluate(chosen), true);
    keep(&mut browser, "light", SCREEN);
    assert!(
        browser.complaints().is_empty(),
        "{:?}",
        browser.complaints()
    );
}

/// The table of cities follows the column that is pressed, and goes the other way round when it is pressed again.
fn sorts(browser: &mut Chromium) {
    let column = |number: usize| {
        format!(
            "[...document.querySelectorAll('#cities tbody tr')].map((row) => Number(row.cells[{number}].dataset.v))"
        )
    };
    let figures = |told: serde_json::Value| -> Vec<f64> {
        let told = told.as_array().expect("a list").clone();
        told.iter().filter_map(serde_json::Value::as_f64).collect()
    };
    let p50 = "#cities th:nth-child(6) button";
    let before = figures(browser.evaluate(&column(5)));
    assert!(
        before.len() > 50 && !before.is_sorted_by(|a, b| a >= b),
        "{before:?}"
    );
    browser.click(p50);
    let falling = figures(browser.evaluate(&column(5)));
    assert!(falling.is_sorted_by(|a, b| a >= b), "{falling:?}");
    browser.click(p50);
    let rising = figures(browser.evaluate(&column(5)));
    assert!(
        rising.is_sorted() && rising.len() == before.len(),
        "{rising:?}"
    );
    let told = "document.querySelector('#cities th:nth-child(6)').getAttribute('aria-sort')";
    assert_eq!(browser.evaluate(told), "ascending");
    browser.click("#cities th:first-child button");
    let names = "[...document.querySelectorAll('#cities tbody tr')].map((row) => row.cells[0].textContent).slice(0, 2)";
    assert_eq!(
        browser.evaluate(names),
        serde_json::json!(["algiers", "amsterdam"])
    );
}

#[test]
fn a_phone_needs_no_sideways_scrolling_and_dark_is_dark() {
    if !is_there() {
        return;
    }
    let pages = Pages::new();
    let mut browser = Chromium::start();
    let files = [
        ("global-14", "6s"),
        ("pop-down", "30s"),
        ("two-pops", "20s"),
    ];
    for (name, duration) in files {
        let file = format!("topologies/{name}.toml");
        let page = pages.write(&format!("{name}.html"), &file, &["--duration", duration]);
        browser.open(&page, PHONE);
        browser.evaluate("for (const it of document.querySelectorAll('details')) it.open = true");
        let width = browser.evaluate("document.documentElement.scrollWidth");
        assert_eq!(width, 390, "{name}");
        let small = "[...document.querySelectorAll('.narrow text.tick')].every((it) => it.getBoundingClientRect().height >= 9)";
        assert_eq!(
            browser.evaluate(small),
            true,
            "{name}: letters too small to read"
        );
        keep(&mut browser, &format!("{name}-phone"), PHONE);
        let ground = "getComputedStyle(document.body).backgroundColor + getComputedStyle(document.querySelector('h1')).color";
        let light = browser.evaluate(ground);
        let dark = Screen {
            dark: true,
            ..SCREEN
        };
        browser.open(&page, dark);
        assert_ne!(browser.evaluate(ground), light, "{name}");
        let sum = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).reduce((sum, part) => sum + Number(part), 0)";
        assert!(
            browser
                .evaluate(sum)
                .as_f64()
                .is_some_and(|sum| sum < 150.0),
            "{name}"
        );
        keep(&mut browser, &format!("{name}-dark"), dark);
        let wide = browser.evaluate("document.documentElement.scrollWidth");
        assert_eq!(wide, 1280, "{name}");
    }
    assert!(
        browser.complaints().is_empty(),
        "{:?}",
        browser.complaints()
    );
}

/// Keeps what is shown, where one can look at it, and checks that something is.
fn keep(browser: &mut Chromium, name: &str, screen: Screen) {
    let image = browser.screenshot();
    assert!(image.starts_with(b"\x89PNG"), "{name}");
    let number =
        |at: usize| u32::from_be_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]]);
    let pixels = if screen.phone { 2 } else { 1 };
    assert_eq!(number(16), screen.width * pixels, "{name}");
    assert!(
        number(20) > screen.height * pixels,
        "{name}: it is not the whole page"
    );
    // A blank page of that size compresses to some hundred bytes a screenful.
    assert!(image.len() > 100_000, "{name}: {} bytes", image.len());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{name}.png"));
    fs::write(file, image).expect("the target folder can be written");
}
