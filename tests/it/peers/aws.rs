//! Real clients of the elbv2 API: boto3, which holds each answer to the model of AWS, and the AWS
//! command line (spec/l4-dns.md A.13).

use std::process::Command;

use super::{LONG, output_of, python, wanted};
use crate::{
    harness::{pod::Pod, tls::pair},
    nlb_api::{Nlb, free_port},
};

/// Operations that are served (A.13).
const OPERATIONS: usize = 31;

/// [NLB-26] A life of a load balancer by boto3, with every operation that is served, waiters, traffic
/// and calls that must fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_boto3_drives_every_operation() {
    if !wanted("peers_boto3_drives_every_operation") {
        return;
    }
    let pods = [Pod::saying("one").await, Pod::saying("two").await];
    let files = tempfile::tempdir().unwrap();
    let certificates = ["one.test", "two.test"].map(|name| {
        let (arn, file) = (format!("arn:aws:acm:::certificate/{name}"), files.path().join(name));
        let pair = pair(name);
        std::fs::write(&file, pair.cert_pem + &pair.key_pem).unwrap();
        (format!("{arn}={}", file.display()), arn)
    });
    let [(first, one), (second, two)] = &certificates;
    let options = ["--zone", "a=127.0.26.8", "--certificate", first, "--certificate", second];
    let nlb = Nlb::start(&options).await;
    let endpoint = format!("http://{}", nlb.api);
    let ports = [(); 3].map(|()| free_port("127.0.26.9").to_string());
    let pods = pods.each_ref().map(|pod| pod.address.to_string());
    let [tcp, tls, udp] = &ports;
    let arguments = [&endpoint, "127.0.26.9", tcp, tls, udp, one, two, &pods[0], &pods[1]];
    let said = python::says("nlb_api.py", &arguments).await;
    assert_eq!(said.split_whitespace().count(), OPERATIONS, "{said}");
}

/// What `aws elbv2` prints of `query`.
async fn aws(nlb: &Nlb, query: &str, arguments: &[&str]) -> String {
    let python = std::env::var_os("WHARF_PEERS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(python);
    command.args(["-m", "awscli", "--endpoint-url", &format!("http://{}", nlb.api)]);
    command.args(["--output", "text", "--query", query, "elbv2"]).args(arguments);
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "any"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_CONFIG_FILE", "/dev/null"),
    ] {
        command.env(name, value);
    }
    let output = output_of(command, LONG).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// [NLB-26] The AWS command line makes, describes, registers, waits and deletes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_the_aws_command_line_makes_a_load_balancer() {
    if !wanted("peers_the_aws_command_line_makes_a_load_balancer") {
        return;
    }
    let pod = Pod::saying("hello").await;
    let nlb = Nlb::start(&["--zone", "a=127.0.26.10"]).await;
    let create =
        ["create-load-balancer", "--name", "web", "--type", "network", "--subnets", "subnet-a"];
    let balancer = aws(&nlb, "LoadBalancers[0].LoadBalancerArn", &create).await;
    let create = [
        "create-target-group",
        "--name",
        "web",
        "--protocol",
        "TCP",
        "--port",
        "80",
        "--vpc-id",
        "vpc-1",
        "--target-type",
        "ip",
    ];
    let group = aws(&nlb, "TargetGroups[0].TargetGroupArn", &create).await;
    let target = format!("Id={},Port={}", pod.address.ip(), pod.address.port());
    aws(&nlb, "@", &["register-targets", "--target-group-arn", &group, "--targets", &target]).await;
    let port = free_port("127.0.26.10").to_string();
    let action = format!("Type=forward,TargetGroupArn={group}");
    let create = [
        "create-listener",
        "--load-balancer-arn",
        &balancer,
        "--protocol",
        "TCP",
        "--port",
        &port,
        "--default-actions",
        &action,
    ];
    aws(&nlb, "Listeners[0].ListenerArn", &create).await;
    let wait = ["wait", "load-balancer-available", "--load-balancer-arns", &balancer];
    aws(&nlb, "@", &wait).await;
    let describe = ["describe-load-balancers", "--names", "web"];
    let state = aws(&nlb, "LoadBalancers[0].[State.Code,Type]", &describe).await;
    assert_eq!(state, "active\tnetwork");
    let health = ["describe-target-health", "--target-group-arn", &group];
    let states = "TargetHealthDescriptions[].TargetHealth.State";
    let mut told = aws(&nlb, states, &health).await;
    // The first check may not be over yet.
    for _ in 0..10 {
        if told == "healthy" {
            break;
        }
        told = aws(&nlb, states, &health).await;
    }
    assert_eq!(told, "healthy");
}
