//! The status page in a real browser: headless Chromium, asked by WebDriver, on a host of the lab.
//!
//! `PIPEWORK_SCREENSHOT=docs/cluster-page.png` keeps what it looks like.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lab;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::cluster::{Cluster, Host, no_consul};
use lab::engine::no_engine;
use lab::{eventually, skip};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const FILE: &str = r#"
name = "shop"
datacenter = "lab"

[[hosts]]
name = "consul01"
address = "192.168.116.111"

[swarm]
mode = "none"

[[pools]]
name = "lan"
subnet = "192.168.116.0/24"
range = "192.168.116.150-192.168.116.199"
gateway = "192.168.116.1"
"#;

const DRIVER: &str = "http://127.0.0.1:9515";
/// Without the last five, Chromium looks for its maker's hosts at each start.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,1300",
];

fn no_chromium() -> bool {
    let there = Command::new("sh").args(["-c", "command -v chromium && command -v chromedriver"]).output().unwrap().status.success();
    !there && skip("needs chromium and chromium-driver: scripts/setup")
}

struct Browser<'a> {
    host: &'a Host,
    driver: Child,
    session: String,
}

impl<'a> Browser<'a> {
    fn start(host: &'a Host) -> Self {
        let driver = host.command("chromedriver").arg("--port=9515").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("the driver answers", || host.try_sh(&format!("curl -sf {DRIVER}/status")));
        let mut browser = Self { host, driver, session: String::new() };
        let options = json!({"binary": "/usr/bin/chromium", "args": FLAGS});
        let made = browser.post("/session", &json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}));
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    fn ask(&self, verb: &str, path: &str, body: &Value) -> Value {
        let mut command = self.host.command("curl");
        command.args(["-s", "-m", "60", "-X", verb, "-H", "content-type: application/json", &format!("{DRIVER}{path}")]);
        if verb == "POST" {
            command.args(["-d", &body.to_string()]);
        }
        let output = command.output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].clone()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, body)
    }

    fn of_session(&self, path: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}{path}", self.session), body)
    }

    fn run(&self, script: &str) -> Value {
        self.of_session("/execute/sync", &json!({"script": script, "args": []}))
    }

    fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap().to_owned()
    }

    /// How long it took until the page shows something.
    #[track_caller]
    fn shows(&self, what: &str) -> Duration {
        let start = Instant::now();
        while !self.text().contains(what) {
            assert!(start.elapsed() < Duration::from_secs(30), "never: {what}\n{}", self.text());
        }
        start.elapsed()
    }
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        Host::signal(&self.driver, Signal::SIGKILL);
        let _ = self.driver.wait();
    }
}

fn agent(host: &Host) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(host.dir.join("agent.log")).unwrap();
    host.program().args(["cluster", "agent", "--ttl", "8", "--page"]).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

#[test]
fn the_page_shows_the_cluster_follows_it_and_outlives_the_agent() {
    if no_consul() || no_engine() || no_chromium() {
        return;
    }
    let mut lab = Cluster::of(1);
    lab.start_engines();
    lab.start_consul("");
    let host = lab.host(1);
    std::fs::write(host.dir.join("cluster.toml"), FILE).unwrap();
    host.sh(&format!("mkdir -p /etc/pipework && cp {} /etc/pipework/", host.dir.join("cluster.toml").display()));
    host.space.sh("ip link add br0 type bridge && ip link set br0 up");
    let mut running = agent(host);
    let browser = Browser::start(host);
    eventually("the page is there", || host.try_sh("curl -sf http://127.0.0.1:8585/ -o /dev/null"));
    browser.of_session("/url", &json!({"url": "http://127.0.0.1:8585/"}));
    browser.shows("the session of this host lives");
    browser.shows("consul01");

    // A change, and what it looks like within two seconds.
    host.docker("run -d --net none --name web --label pipework.lan='br0 pool:lan' box sleep 100000");
    eventually("it is attached", || std::fs::read_to_string(host.dir.join("agent.log")).unwrap().contains("attached docker:web"));
    let took = browser.shows("docker:web");
    eprintln!("the page follows after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");

    // Text of others is text.
    let hostile = "br0 <img/src=x/onerror=document.title=1> x y z";
    host.docker(&format!("run -d --net none --name bad --label 'pipework.lan={hostile}' box sleep 100000"));
    browser.shows("refused");
    browser.shows("docker:bad");
    assert_eq!(browser.run("return document.title"), "pipework");
    assert_eq!(browser.run("return document.images.length"), 0);
    let elsewhere = "return performance.getEntriesByType('resource').filter((one) => !one.name.startsWith(location.origin)).length";
    assert_eq!(browser.run(elsewhere), 0);

    // By keyboard alone, and on a phone.
    browser.of_session(
        "/actions",
        &json!({"actions": [{"type": "key", "id": "k", "actions": "/web".chars().flat_map(|c| [
        json!({"type": "keyDown", "value": c.to_string()}), json!({"type": "keyUp", "value": c.to_string()})]).collect::<Vec<_>>()}]}),
    );
    assert_eq!(browser.run("return document.activeElement.value"), "web");
    assert!(!browser.text().contains("docker:bad"), "{}", browser.text());
    browser
        .run("document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input')); document.activeElement.blur()");
    browser.shows("docker:bad");
    if let Some(path) = std::env::var_os("PIPEWORK_SCREENSHOT") {
        let png = browser.ask("GET", &format!("/session/{}/screenshot", browser.session), &Value::Null);
        let mut child =
            Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(std::fs::File::create(path).unwrap()).spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), png.as_str().unwrap().as_bytes()).unwrap();
        child.wait().unwrap();
    }
    browser.of_session("/window/rect", &json!({"width": 500, "height": 800}));
    let wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert!(wide.as_i64().unwrap() <= 0, "it scrolls sideways by {wide}");

    // The agent ends: what was there stays, and it is said; it comes back, and so does the page.
    Host::signal(&running, Signal::SIGKILL);
    running.wait().unwrap();
    browser.shows("The agent does not answer");
    assert!(browser.text().contains("docker:web"));
    let mut running = agent(host);
    browser.shows("the session of this host lives");
    browser.shows("docker:web");

    // Who comes by another name of this host's does not read it, and nothing but reading is answered.
    assert_eq!(host.sh("curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' http://127.0.0.1:8585/"), "421");
    assert_eq!(host.sh("curl -s -o /dev/null -w '%{http_code}' -X POST http://127.0.0.1:8585/"), "405");
    assert!(host.sh("curl -si http://127.0.0.1:8585/").contains("content-security-policy: default-src 'none'"));
    host.fails("cluster agent --page 0.0.0.0:8586 --socket /run/other.sock", "another daemon");
    drop(browser);
    Host::signal(&running, Signal::SIGTERM);
    let ended = running.wait().unwrap();
    assert!(ended.success(), "{ended:?}: {}", std::fs::read_to_string(host.dir.join("agent.log")).unwrap());
    host.fails("cluster agent --page 0.0.0.0:8586", "needs --token-file");
}
