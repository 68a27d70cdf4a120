//! The elbv2 API of `wharf nlb`, by plain POSTs: calls that change what runs, calls that are refused
//! before they are read, and a restart (spec/l4-dns.md A.13). Real clients are in `peers::aws`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails fails the test")]

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    harness::{eventually, pod::Pod, within},
    nlb_zones::resolve,
};

/// A running `wharf nlb` with a zone on an address of this test.
pub(crate) struct Nlb {
    /// Where its API is.
    pub(crate) api: SocketAddr,
    child: Child,
}

impl Drop for Nlb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of `host` that is free now.
pub(crate) fn free_port(host: &str) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

impl Nlb {
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let api = SocketAddr::from(([127, 0, 0, 1], free_port("127.0.0.1")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["nlb", "--grace", "0", "--api", &api.to_string()]).args(arguments);
        command.env_clear().stdin(Stdio::null()).stderr(Stdio::null());
        let nlb = Self { api, child: command.spawn().unwrap() };
        eventually("the API", async || TcpStream::connect(api).await.ok()).await;
        nlb
    }

    /// Status and body of a POST with these headers.
    async fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = within("the API", TcpStream::connect(self.api)).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            self.api,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A body that is refused is not read to its end.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = within("the answer", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    }

    async fn call(&self, parameters: &str) -> (u16, String) {
        self.post("/", FORM, &format!("Version=2015-12-01&{parameters}")).await
    }

    /// The body of a call that must succeed.
    pub(crate) async fn ok(&self, parameters: &str) -> String {
        let (status, body) = self.call(parameters).await;
        assert_eq!(status, 200, "{parameters}: {body}");
        body
    }

    /// The code of a call that must fail with `status`.
    async fn refused(&self, parameters: &str, status: u16) -> String {
        let (got, body) = self.call(parameters).await;
        assert_eq!(got, status, "{parameters}: {body}");
        value(&body, "Code")
    }
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n";

/// The text of the first element of this name.
pub(crate) fn value(xml: &str, name: &str) -> String {
    let text = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once('<'));
    text.unwrap_or_else(|| panic!("no {name} in {xml}")).0.to_owned()
}

/// The head of an answer to a GET over a load balancer.
async fn get(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.ok()?;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.ok()?;
    String::from_utf8(answer).ok()
}

/// Creates a load balancer, a group with `pod` and a listener; their ARNs.
async fn web(nlb: &Nlb, port: u16, pod: SocketAddr) -> [String; 3] {
    let made = nlb.ok("Action=CreateLoadBalancer&Name=web&Type=network&Subnets.member.1=subnet-a&\
         Tags.member.1.Key=team&Tags.member.1.Value=a%2Bb+%C3%A9");
    let balancer = value(&made.await, "LoadBalancerArn");
    let made = nlb
        .ok("Action=CreateTargetGroup&Name=web&Protocol=TCP&Port=80&VpcId=vpc-1&TargetType=ip&\
         HealthCheckIntervalSeconds=5&HealthCheckTimeoutSeconds=2");
    let group = value(&made.await, "TargetGroupArn");
    nlb.ok(&format!(
        "Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={}&\
         Targets.member.1.Port={}",
        pod.ip(),
        pod.port()
    ))
    .await;
    let create = format!(
        "Action=CreateListener&LoadBalancerArn={balancer}&Protocol=TCP&Port={port}&\
         DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
    );
    let listener = value(&nlb.ok(&create).await, "ListenerArn");
    [balancer, group, listener]
}

/// What the API makes carries traffic, outlives the process, and is gone when it is deleted.
#[tokio::test]
async fn a_load_balancer_of_the_api_runs_and_is_restored() {
    let pod = Pod::saying("hello").await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let host = "127.0.26.1";
    let port = free_port(host);
    let front = SocketAddr::new(host.parse().unwrap(), port);
    let arguments = ["--zone", "a=127.0.26.1", "--state-dir", state];
    let nlb = Nlb::start(&arguments).await;
    let [balancer, group, listener] = web(&nlb, port, pod.address).await;
    assert_eq!(eventually("traffic", async || get(front).await).await, "HTTP/1.1 200");
    let health = format!("Action=DescribeTargetHealth&TargetGroupArn={group}");
    eventually("a healthy target", async || {
        (value(&nlb.ok(&health).await, "State") == "healthy").then_some(())
    })
    .await;
    let tags = nlb.ok(&format!("Action=DescribeTags&ResourceArns.member.1={balancer}")).await;
    assert_eq!(value(&tags, "Value"), "a+b \u{e9}");
    drop(nlb);

    let nlb = Nlb::start(&arguments).await;
    let told = nlb.ok("Action=DescribeLoadBalancers&Names.member.1=web").await;
    assert_eq!(
        (value(&told, "LoadBalancerArn"), value(&told, "Code")),
        (balancer.clone(), "active".to_owned())
    );
    assert_eq!(eventually("traffic", async || get(front).await).await, "HTTP/1.1 200");
    nlb.ok(&format!("Action=DeleteListener&ListenerArn={listener}")).await;
    eventually("no listener", async || TcpStream::connect(front).await.is_err().then_some(()))
        .await;
    let told = nlb.ok(&health).await;
    assert_eq!(
        (value(&told, "State"), value(&told, "Reason")),
        ("unused".into(), "Target.NotInUse".into())
    );
    nlb.ok(&format!("Action=DeleteLoadBalancer&LoadBalancerArn={balancer}")).await;
    nlb.ok(&format!("Action=DeleteTargetGroup&TargetGroupArn={group}")).await;
    drop(nlb);
    let nlb = Nlb::start(&arguments).await;
    let gone = nlb.refused("Action=DescribeLoadBalancers&Names.member.1=web", 400).await;
    assert_eq!(gone, "LoadBalancerNotFound");
}

/// A socket that is taken fails the call, and nothing of it is kept.
#[tokio::test]
async fn a_listener_that_cannot_be_bound_is_not_made() {
    let taken = TcpListener::bind("127.0.26.2:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let nlb = Nlb::start(&["--zone", "a=127.0.26.2"]).await;
    let made = nlb.ok("Action=CreateLoadBalancer&Name=web&Type=network&Subnets.member.1=subnet-a");
    let balancer = value(&made.await, "LoadBalancerArn");
    let made =
        nlb.ok("Action=CreateTargetGroup&Name=web&Protocol=TCP&Port=80&VpcId=v&TargetType=ip");
    let group = value(&made.await, "TargetGroupArn");
    let create = format!(
        "Action=CreateListener&LoadBalancerArn={balancer}&Protocol=TCP&Port={port}&\
         DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
    );
    let (status, body) = nlb.call(&create).await;
    assert_eq!((status, value(&body, "Code")), (400, "InvalidConfigurationRequest".to_owned()));
    assert!(body.contains(&format!("127.0.26.2:{port}")), "{body}");
    let told = nlb.ok(&format!("Action=DescribeListeners&LoadBalancerArn={balancer}")).await;
    assert!(!told.contains("ListenerArn"), "{told}");
    drop(taken);
    nlb.ok(&create).await;
}

/// What is no call of the API: other pages, other bodies, other versions, and calls of web pages.
#[tokio::test]
async fn calls_that_are_none_are_refused() {
    let nlb = Nlb::start(&["--zone", "a=127.0.26.3"]).await;
    let call = "Action=DescribeLoadBalancers&Version=2015-12-01";
    for (headers, body, status, code) in [
        ("", call, 415, "UnsupportedMediaType"),
        ("Content-Type: text/plain\r\n", call, 415, "UnsupportedMediaType"),
        (FORM, "Version=2015-12-01", 400, "MissingAction"),
        (FORM, "Action=DescribeLoadBalancers", 400, "NoSuchVersion"),
        (FORM, "Action=DescribeLoadBalancers&Version=2012-06-01", 400, "NoSuchVersion"),
        (FORM, "Action=Do&Version=2015-12-01", 400, "InvalidAction"),
        (FORM, "Action=CreateRule&Version=2015-12-01", 400, "OperationNotPermitted"),
        (
            FORM,
            "Action=DescribeLoadBalancers&Version=2015-12-01&X=1",
            400,
            "InvalidConfigurationRequest",
        ),
        (
            FORM,
            "Action=DescribeLoadBalancers&Version=2015-12-01&PageSize=x",
            400,
            "ValidationError",
        ),
        (FORM, "Action=%zz", 400, "ValidationError"),
    ] {
        let (got, answer) = nlb.post("/", headers, body).await;
        assert_eq!((got, value(&answer, "Code").as_str()), (status, code), "{body}");
        assert!(answer.contains("<RequestId>"), "{answer}");
    }
    let (_, answer) = nlb.call("Action=%3Ca%26b%3E").await;
    assert!(answer.contains("The action &lt;a&amp;b&gt; is not valid"), "{answer}");
    let page = format!("{FORM}Origin: http://example.com\r\n");
    let (status, answer) = nlb.post("/", &page, call).await;
    assert_eq!((status, value(&answer, "Code").as_str()), (403, "AccessDenied"));
    let (status, answer) = nlb.post("/", FORM, &"x".repeat((1 << 20) + 1)).await;
    assert_eq!((status, value(&answer, "Code").as_str()), (413, "RequestEntityTooLarge"));
    let (status, _) = nlb.post("/healthz", FORM, call).await;
    assert_eq!(status, 405);
    nlb.ok("Action=DescribeLoadBalancers").await;
}

/// A damaged file is told with its place and is left as it is.
#[tokio::test]
async fn a_damaged_state_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nlb-state.json");
    let text = "{\n  \"version\": 1,\n  \"account\": 7\n}";
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.args(["nlb", "--api", "127.0.0.1:0", "--state-dir"]).arg(folder.path()).env_clear();
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = child.stderr.take().unwrap();
    // Killed when this ends, whatever it does.
    let mut nlb = Nlb { api: SocketAddr::from(([127, 0, 0, 1], 0)), child };
    let said = tokio::task::spawn_blocking(move || {
        BufReader::new(log).lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
    });
    let said = within("the end", said).await.unwrap();
    assert!(said.contains(&format!("{}:3:", path.display())), "{said}");
    assert!(!nlb.child.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

fn write_config(folder: &Path, port: u16, target: SocketAddr) -> String {
    let path = folder.join("nlb.yaml");
    let text = format!(
        "name: file\nzones: [{{ name: a, address: 127.0.26.4 }}]\n\
         listeners: [{{ port: {port}, targetGroup: web }}]\n\
         targetGroups: [{{ name: web, port: {}, targets: [{{ id: {}, availabilityZone: a }}] }}]\n",
        target.port(),
        target.ip()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The load balancer of the file is in the describes, and is the file's; what the API makes beside it
/// is stored beside the file.
#[tokio::test]
async fn the_file_and_the_api_describe_one_model() {
    let pod = Pod::saying("hello").await;
    let folder = tempfile::tempdir().unwrap();
    let config = write_config(folder.path(), free_port("127.0.26.4"), pod.address);
    let nlb = Nlb::start(&["--config", &config, "--zone", "a=127.0.26.4"]).await;
    let told = nlb.ok("Action=DescribeLoadBalancers").await;
    let balancer = value(&told, "LoadBalancerArn");
    assert_eq!(
        (value(&told, "LoadBalancerName"), value(&told, "ZoneName")),
        ("file".into(), "a".into())
    );
    let told = nlb.ok(&format!("Action=DescribeTargetGroups&LoadBalancerArn={balancer}")).await;
    let group = value(&told, "TargetGroupArn");
    eventually("a healthy target", async || {
        let told = nlb.ok(&format!("Action=DescribeTargetHealth&TargetGroupArn={group}")).await;
        (value(&told, "State") == "healthy").then_some(())
    })
    .await;
    let delete = format!("Action=DeleteLoadBalancer&LoadBalancerArn={balancer}");
    assert_eq!(nlb.refused(&delete, 400).await, "OperationNotPermitted");
    assert!(!folder.path().join("nlb-state.json").exists(), "nothing was changed yet");
    nlb.ok("Action=CreateTargetGroup&Name=g&Protocol=TCP&Port=80&VpcId=v&TargetType=ip").await;
    assert!(folder.path().join("nlb-state.json").exists());
    // What cannot be stored is not done.
    let gone = folder.path().to_owned();
    tokio::task::spawn_blocking(move || std::fs::remove_dir_all(gone)).await.unwrap().unwrap();
    let code = nlb
        .refused("Action=CreateTargetGroup&Name=h&Protocol=TCP&Port=80&VpcId=v&TargetType=ip", 500)
        .await;
    assert_eq!(code, "InternalFailure");
    let code = nlb.refused("Action=DescribeTargetGroups&Names.member.1=h", 400).await;
    assert_eq!(code, "TargetGroupNotFound");
}

/// A zonal shift of a configuration file: the zone leaves DNS, the API tells whose targets it is about,
/// and both end when it is taken out of the file. Checks come from the node of each zone meanwhile.
#[tokio::test]
async fn a_zonal_shift_is_started_and_ended_in_the_file() {
    let pods = [Pod::saying("one").await, Pod::saying("two").await];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nlb.yaml");
    let (front, dns) = (free_port("127.0.26.20"), free_port("127.0.0.1"));
    let dns = SocketAddr::from(([127, 0, 0, 1], dns));
    let write = |shift: &str| {
        let [one, two] = pods.each_ref().map(|pod| pod.address.port());
        let text = format!(
            "name: web
zones: [{{ name: a, address: 127.0.26.20 }}, {{ name: b, address: 127.0.26.21 }}]
attributes: {{ zonal_shift.config.enabled: \"true\" }}
healthCheckers: each-zone
{shift}
listeners: [{{ port: {front}, targetGroup: web }}]
targetGroups:
- name: web
  port: 80
  targets:
  - {{ id: 127.0.0.1, port: {one}, availabilityZone: a }}
  - {{ id: 127.0.0.1, port: {two}, availabilityZone: b }}
"
        );
        std::fs::write(folder.path().join("draft"), text).unwrap();
        std::fs::rename(folder.path().join("draft"), &file).unwrap();
    };
    write("zonalShift: { awayFrom: b }");
    let nlb = Nlb::start(&["--config", file.to_str().unwrap(), "--dns", &dns.to_string()]).await;
    let name = value(&nlb.ok("Action=DescribeLoadBalancers").await, "DNSName");
    let group = value(&nlb.ok("Action=DescribeTargetGroups").await, "TargetGroupArn");
    let health = format!("Action=DescribeTargetHealth&TargetGroupArn={group}");
    let told = async || {
        let told = nlb.ok(&health).await;
        (told.matches("<State>healthy").count() == 2).then_some(())?;
        let of =
            |member: &str| value(member.split_once("<AdministrativeOverride>")?.1, "State").into();
        let mut overrides: Vec<Option<String>> = told.split("<member>").skip(1).map(of).collect();
        overrides.sort_unstable();
        Some((overrides.into_iter().flatten().collect::<Vec<_>>(), resolve(dns, &name).await))
    };
    let [a, b] =
        ["127.0.26.20", "127.0.26.21"].map(|node| node.parse::<std::net::IpAddr>().unwrap());
    let (overrides, named) = eventually("two healthy targets", told).await;
    assert_eq!(overrides, ["no_override", "zonal_shift_delegated_to_dns"]);
    assert_eq!(named, [a]);
    write("");
    eventually("the end of the shift", async || {
        let (overrides, named) = told().await?;
        (overrides == ["no_override"; 2] && named == [a, b]).then_some(())
    })
    .await;
}
