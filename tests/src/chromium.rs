//! A real browser without a screen, to look at pages: Chromium, told what to do over its DevTools pipe.
//!
//! Messages are JSON that ends with a zero byte, on descriptors 3 and 4 (`--remote-debugging-pipe`). Whatever a page
//! complains of, or fetches from elsewhere, is written down.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::two_machines::Scratch;

/// How long the browser may take for one thing.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a page is looked at on.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// What the reader's system prefers.
    pub dark: bool,
    /// A touch screen with two pixels to a CSS pixel.
    pub phone: bool,
}

/// A browser with one page.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    loaded: bool,
    complaints: Vec<String>,
    _profile: Scratch,
}

impl Chromium {
    /// Whether it is installed.
    pub fn is_there() -> bool {
        let asked = Command::new("chromium").arg("--version").output();
        asked.is_ok_and(|told| told.status.success())
    }

    /// Starts one with an empty page and a profile of its own.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Chromium {
        let profile = Scratch::new();
        let flags = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-dev-shm-usage";
        let line = format!(
            "exec chromium {flags} --remote-debugging-pipe --user-data-dir='{}' about:blank 3<&0 4>&1 0</dev/null 1>/dev/null",
            profile.path().display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        let to = child.stdin.take().expect("it is a pipe");
        let from = messages(child.stdout.take().expect("it is a pipe"));
        let mut browser = Chromium {
            child,
            to,
            from,
            session: None,
            calls: 0,
            loaded: false,
            complaints: Vec::new(),
            _profile: profile,
        };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens a file on a screen and waits until all of it is there.
    pub fn open(&mut self, file: &Path, screen: Screen) {
        let Screen {
            width,
            height,
            dark,
            phone,
        } = screen;
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", media);
        self.loaded = false;
        let url = format!("file://{}", file.display());
        self.call("Page.navigate", json!({ "url": url }));
        while !self.loaded {
            let message = self.next();
            self.note(&message);
        }
    }

    /// What an expression gives in the page.
    ///
    /// # Panics
    /// When it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let told = self.call("Runtime.evaluate", asked);
        assert!(
            told["exceptionDetails"].is_null(),
            "{expression}: {}",
            told["exceptionDetails"]
        );
        told["result"]["value"].clone()
    }

    /// Moves the mouse to the middle of an element, which is scrolled to.
    ///
    /// # Panics
    /// When there is no such element.
    pub fn hover(&mut self, selector: &str) -> (f64, f64) {
        let asked = format!(
            "(() => {{ const it = document.querySelector({selector:?}); it.scrollIntoView({{ block: 'center', behavior: 'instant' }}); \
             const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let at = self.evaluate(&asked);
        let at = (
            at[0].as_f64().expect("a place"),
            at[1].as_f64().expect("a place"),
        );
        self.mouse("mouseMoved", at);
        at
    }

    /// Presses and releases the mouse on an element.
    pub fn click(&mut self, selector: &str) {
        let at = self.hover(selector);
        self.mouse("mousePressed", at);
        self.mouse("mouseReleased", at);
    }

    /// The whole page as PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let told = self.call(
            "Page.captureScreenshot",
            json!({ "captureBeyondViewport": true }),
        );
        let data = told["data"].as_str().expect("an image");
        BASE64.decode(data.as_bytes()).expect("it is Base64")
    }

    /// What pages complained of so far, and what they wanted from elsewhere.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64)) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", event);
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let told = self.next();
            if told["id"] == self.calls {
                assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                return told["result"].clone();
            }
            self.note(&told);
        }
    }

    fn next(&self) -> Value {
        let told = self.from.recv_timeout(PATIENCE);
        told.expect("the browser goes on")
    }

    fn note(&mut self, told: &Value) {
        let params = &told["params"];
        match told["method"].as_str() {
            Some("Page.loadEventFired") => self.loaded = true,
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(params["exceptionDetails"].to_string());
            }
            Some("Runtime.consoleAPICalled") if params["type"] != "log" => {
                self.complaints.push(params.to_string());
            }
            Some("Log.entryAdded") => self.complaints.push(params["entry"].to_string()),
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                if !url.starts_with("file://") {
                    self.complaints.push(format!("it fetches {url}"));
                }
            }
            _ => {}
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let close = b"{\"id\":0,\"method\":\"Browser.close\"}\0";
        if self.to.write_all(close).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// What the browser tells, as it comes.
fn messages(from: ChildStdout) -> Receiver<Value> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while matches!(from.read_until(0, &mut bytes), Ok(read) if read > 0) {
            bytes.pop();
            let message = serde_json::from_slice(&bytes).expect("the browser tells JSON");
            bytes.clear();
            if tell.send(message).is_err() {
                return;
            }
        }
    });
    told
}
