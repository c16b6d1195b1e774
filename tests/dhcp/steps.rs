//! A lease's steps: whichever fails, the guest is as before.

use pipework::external::dhcp::message::Message;

use crate::lab::contrary::{ACK, answer};
use crate::lab::inside::{Fault, fail_lease_at};
use crate::lab::{Lab, assert_same, both, no_root};

#[test]
fn every_step_of_a_lease_rolls_back() {
    if no_root() {
        return;
    }
    let lab = Lab::new();
    let guest = lab.guest();
    lab.ok(&format!("br0 pid:{} 0/0", guest.pid()));
    guest.sh("ip link add d0 up type veth peer name d1 && ip link set d1 up && ip addr add 10.5.0.2/24 dev d0");
    guest.sh("ip route add default via 10.5.0.1 && ip route add default via 10.5.0.3 metric 7");
    let mut question = vec![0; 236];
    question[..3].copy_from_slice(&[1, 1, 6]);
    question.extend([99, 130, 83, 99]);
    // MTU 1400; everything over a router off the subnet, and a network on the link.
    let options = [1, 4, 255, 255, 255, 0, 51, 4, 0, 0, 14, 16, 26, 2, 5, 120, 121, 13, 0, 10, 77, 0, 1, 16, 10, 99, 0, 0, 0, 0, 0, 255];
    let message = Message::decode(&answer(&question, ACK, [10, 88, 0, 9], [10, 88, 0, 1], &options)).unwrap();
    let lease = message.lease(&[]).unwrap();
    let before = both(&lab, &guest);
    for n in 0..20 {
        for fault in [Fault::Refused, Fault::AnswerLost] {
            let outcome = fail_lease_at(&lab.host, &guest, &lease, n, fault);
            if !outcome.failed {
                assert_eq!((n, outcome.steps), (6, 6), "every step was made to fail");
                assert_eq!(guest.addrs("eth1"), ["10.88.0.9/24"]);
                return;
            }
            assert_eq!(outcome.left, Vec::<String>::new(), "step {n}");
            assert_same(&before, &both(&lab, &guest), &format!("step {n}, {fault:?}"));
        }
    }
    unreachable!("the lease was never carried out");
}
