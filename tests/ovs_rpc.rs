//! The database client against servers of the test's own: what it says, and what it makes of any answer.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use pipework::external::ovsdb::{Address, Client, Frames, Switch};
use pipework::model::ovs::{NewOvsPort, OvsError, OvsVlans};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Answers each request by the test's word for it; what a request's answer is preceded by comes with it.
struct Stub {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Stub {
    fn start(answer: impl Fn(&Value) -> String + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("db.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (record, answer) = (Arc::clone(&heard), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (record, answer) = (Arc::clone(&record), Arc::clone(&answer));
                std::thread::spawn(move || converse(stream, &record, &*answer));
            }
        });
        Self { _dir: dir, socket, heard }
    }

    fn address(&self) -> Address {
        Address::Unix(self.socket.clone())
    }
}

fn converse(mut stream: UnixStream, record: &Mutex<Vec<Value>>, answer: &dyn Fn(&Value) -> String) {
    let (mut frames, mut piece) = (Frames::default(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        frames.push(&piece[..count]);
        while let Some(request) = frames.next_value().unwrap() {
            record.lock().unwrap().push(request.clone());
            // In two pieces, cut anywhere.
            let bytes = answer(&request).into_bytes();
            let (a, b) = bytes.split_at(bytes.len() / 2);
            if stream.write_all(a).and_then(|()| stream.write_all(b)).is_err() {
                return;
            }
        }
    }
}

fn answered(request: &Value, result: &Value) -> String {
    json!({"id": request["id"], "error": null, "result": result}).to_string()
}

fn port() -> NewOvsPort {
    NewOvsPort {
        bridge: "ovs0".parse().unwrap(),
        name: "veth1pl7".parse().unwrap(),
        vlans: OvsVlans { tag: Some(10), ..OvsVlans::default() },
        ids: BTreeMap::from([("pipework.interface".to_owned(), "veth1pl7".to_owned())]),
        replaces: None,
    }
}

#[test]
fn the_servers_own_questions_and_news_do_not_disturb_and_its_echo_is_answered() {
    let stub = Stub::start(|request| {
        if request.get("method").is_none() {
            return String::new();
        }
        let before = r#"{"method":"echo","params":["are you there"],"id":"echo"}{"method":"update","params":[null,{}],"id":null} {"id":99,"result":[],"error":null}"#;
        format!("{before}{}", answered(request, &json!(["Open_vSwitch"])))
    });
    let mut client = Client::connect(&stub.address()).unwrap();
    for _ in 0..2 {
        assert_eq!(client.call("list_dbs", &json!([])).unwrap(), json!(["Open_vSwitch"]));
    }
    let heard = stub.heard.lock().unwrap();
    assert_eq!(heard[0], json!({"method": "list_dbs", "params": [], "id": 1}));
    assert!(heard.contains(&json!({"id": "echo", "result": ["are you there"], "error": null})), "{heard:?}");
}

#[test]
fn a_port_is_made_in_one_transaction_with_its_conditions() {
    let stub = Stub::start(|request| {
        let ops = request["params"].as_array().unwrap();
        let answers = ops[1..].iter().map(|op| match op["op"].as_str().unwrap() {
            "insert" => json!({"uuid": ["uuid", op["uuid"]]}),
            "mutate" => json!({"count": 1}),
            "select" if op["table"] == "Interface" => json!({"rows": [{"ofport": 3, "error": ["set", []]}]}),
            "select" => json!({"rows": [{"next_cfg": 8, "cur_cfg": 8}]}),
            _ => json!({}),
        });
        answered(request, &answers.collect())
    });
    Switch::new(stub.address()).add_port(&port(), &mut || None).unwrap();
    let heard = stub.heard.lock().unwrap();
    let ops = heard[0]["params"].as_array().unwrap();
    let steps: Vec<String> =
        ops[1..].iter().map(|op| format!("{} {}", op["op"].as_str().unwrap(), op["table"].as_str().unwrap_or("-"))).collect();
    assert_eq!(
        steps,
        [
            "comment -",
            "wait Bridge",
            "wait Port",
            "insert Interface",
            "insert Port",
            "mutate Bridge",
            "mutate Open_vSwitch",
            "select Open_vSwitch"
        ]
    );
    assert!(ops[1..].iter().filter(|op| op["op"] == "wait").all(|op| op["timeout"] == 0));
    assert_eq!(ops[5]["row"]["tag"], 10);
    assert_eq!(ops[4]["row"]["external_ids"], json!(["map", [["pipework.interface", "veth1pl7"]]]));
}

#[test]
fn a_server_that_chooses_uuids_itself_gets_names_and_the_port_it_made_is_taken_back() {
    let refusal = json!([{"error": "syntax error", "details": "Parsing ovsdb operation 4 of 8 failed: Member 'uuid' is present but not allowed here."}]);
    let stub = Stub::start(move |request| {
        let ops = request["params"].as_array().unwrap();
        if ops.iter().any(|op| op["op"] == "insert" && op.get("uuid").is_some()) {
            return answered(request, &refusal);
        }
        let answers = ops[1..].iter().map(|op| match op["op"].as_str().unwrap() {
            "insert" => json!({"uuid": ["uuid", if op["table"] == "Port" { "its-port" } else { "its-other" }]}),
            "select" => json!({"rows": [{"next_cfg": 8, "cur_cfg": 8, "ofport": -1, "error": "no such device"}]}),
            _ => json!({}),
        });
        answered(request, &answers.collect())
    });
    let mut switch = Switch::new(stub.address());
    let error = switch.add_port(&port(), &mut || None).unwrap_err();
    assert_eq!(error, OvsError::Switch { name: "veth1pl7".into(), why: "no such device".into() });
    assert!(error.outcome_unknown(), "it is in the database");
    switch.del_port(&port()).unwrap();
    let heard = stub.heard.lock().unwrap();
    let removed = heard
        .iter()
        .flat_map(|r| r["params"].as_array().unwrap())
        .any(|op| op["mutations"] == json!([["ports", "delete", ["uuid", "its-port"]]]));
    assert!(removed, "{heard:?}");
}

#[test]
fn role_based_access_control_is_told_with_what_to_do() {
    let stub = Stub::start(|request| {
        let count = request["params"].as_array().unwrap().len() - 1;
        let mut answers = vec![json!({}); 3];
        answers.push(json!({"error": "permission error", "details": "RBAC rules for client \"x\" role \"y\" prohibit row insertion into table \"Interface\"."}));
        answers.resize(count, Value::Null);
        answered(request, &json!(answers))
    });
    let error = Switch::new(stub.address()).add_port(&port(), &mut || None).unwrap_err();
    assert!(error.to_string().contains("prohibit row insertion") && error.hint().unwrap().contains("local socket"), "{error}");
    assert!(!error.outcome_unknown());
}

#[test]
fn a_server_that_refuses_the_questions_after_a_change_does_not_make_us_forget_the_change() {
    for refusal in ["unknown database", "not allowed"] {
        let stub = Stub::start(move |request| {
            let ops = request["params"].as_array().unwrap();
            if ops.iter().all(|op| op["op"] != "insert") {
                return json!({"id": request["id"], "result": null, "error": {"error": refusal}}).to_string();
            }
            answered(request, &ops[1..].iter().map(|_| json!({"rows": [{"next_cfg": 8}], "uuid": ["uuid", "x"]})).collect())
        });
        let error = Switch::new(stub.address()).add_port(&port(), &mut || None).unwrap_err();
        assert!(error.outcome_unknown(), "it is in the database: {error}");
    }
}

/// JSON that has the words of the protocol in it.
fn nonsense() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "uuid",
        "set",
        "map",
        "rows",
        "error",
        "timed out",
        "details",
        "name",
        "_uuid",
        "ofport",
        "next_cfg",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        words.clone().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..9).prop_map(Value::from),
            prop::collection::btree_map(words.clone().prop_map(str::to_owned), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// An answer to a look: rows of the right number, with anything in them.
fn rows() -> impl Strategy<Value = Value> {
    let column = prop::sample::select(vec![
        "_uuid",
        "name",
        "ports",
        "interfaces",
        "external_ids",
        "tag",
        "trunks",
        "vlan_mode",
        "fake_bridge",
        "next_cfg",
        "cur_cfg",
        "error",
        "ofport",
    ]);
    let row =
        prop::collection::btree_map(column.prop_map(str::to_owned), nonsense(), 0..6).prop_map(|map| map.into_iter().collect::<Value>());
    prop::collection::vec(prop::collection::vec(row, 0..2).prop_map(|rows| json!({"rows": rows, "uuid": ["uuid", "x"]})), 0..12)
        .prop_map(Value::from)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_of_a_server_makes_it_panic(result in prop_oneof![nonsense(), rows()]) {
        let stub = Stub::start(move |request| answered(request, &result));
        let mut switch = Switch::new(stub.address());
        let _ = switch.look("ovs0", "veth1pl7");
        // A stop at once: the answer may be one for which ovs-vswitchd would be waited for.
        let _ = switch.add_port(&port(), &mut || Some("SIGTERM"));
        let _ = switch.add_bridge("ovs0", &mut || Some("SIGTERM"));
    }

    #[test]
    fn no_bytes_make_the_framing_panic_or_lose_what_was_whole(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
        let mut frames = Frames::default();
        frames.push(br#"{"id":1}"#);
        prop_assert_eq!(frames.next_value(), Ok(Some(json!({"id": 1}))));
        for piece in pieces {
            frames.push(&piece);
            let _ = frames.next_value();
        }
    }

    #[test]
    fn values_come_out_as_they_went_in_however_they_are_cut(values in prop::collection::vec(nonsense().prop_map(|v| json!({"id": v})), 1..5), size in 1usize..64) {
        let stream: String = values.iter().map(Value::to_string).collect();
        let (mut frames, mut all) = (Frames::default(), Vec::new());
        for piece in stream.as_bytes().chunks(size) {
            frames.push(piece);
            while let Some(value) = frames.next_value().unwrap() {
                all.push(value);
            }
        }
        prop_assert_eq!(all, values);
    }
}
