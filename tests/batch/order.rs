//! Which lines wait for which.

use super::lab::crowd::Crowd;
use super::lab::no_root;

#[test]
fn lines_of_a_guest_are_done_in_order_and_what_a_detach_gives_up_is_free_behind_it() {
    if no_root() {
        return;
    }
    let crowd = Crowd::new(4);
    let word = |n| crowd.word(n);
    let text = format!(
        "# an address that changes hands, by a namespace's other name, too\n\
         br0 {0} 10.100.1.1/16\nbr0 -i eth2 {0} 10.100.1.2/16\ndetach {0} -i eth1\nbr0 {1} 10.100.1.1/16\n\
         detach {1}\n\n[\"br0\", \"{0}\", \"10.100.1.1/16\"]\nlink {2} {3}\nlink {2}:eth2 {3}:eth2=10.9.0.1/30\n\
         {{\"detach\": {{\"guest\": \"{2}\", \"guest_if\": \"eth2\"}}}}\n",
        word(0),
        word(1),
        word(2),
        word(3)
    );
    let said = crowd.ok("--jobs 8", &text);
    assert!(said.starts_with("9 lines: 6 attached, 3 detached"), "{said}");
    let links = |n| crowd.sh(n, "ip -o link | cut -d: -f2 | cut -d@ -f1 | tr -d '\\n'");
    assert_eq!([0, 1, 2, 3].map(links), [" lo eth2 eth1", " lo", " lo eth1", " lo eth1"]);
    assert!(crowd.sh(0, "ip -o -4 addr show dev eth1").contains("10.100.1.1/16"));
}

#[test]
fn standard_input_comments_and_nothing_at_all() {
    if no_root() {
        return;
    }
    let crowd = Crowd::new(1);
    assert!(crowd.ok("", "\n  # nothing\n").starts_with("0 lines: nothing to do"));
    let ran = crowd.lab.run("batch /not/there");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("/not/there: No such file"), "{}", ran.err);
    let mut command = crowd.lab.program();
    command.args(["batch", "-v"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), crowd.lines().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && out.starts_with("1: netns:") && out.contains(" eth1 10.100.1.1/16 attached\n1 lines: 1 attached"),
        "{out}"
    );
}
