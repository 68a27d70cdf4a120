"""A life of a network load balancer by boto3: every operation that is served, with each answer held
to the model of botocore; traffic in between; calls that must fail with the names of AWS.

Arguments: the endpoint, the address of the node, three free ports, the ARNs of certificates for one.test
and two.test, two pods as HOST:PORT.
"""

import http.client
import socket
import ssl
import sys
import urllib.request
import xml.etree.ElementTree as tree

import boto3
import botocore.config
import botocore.exceptions
from botocore.model import ListShape, StructureShape

ENDPOINT, NODE, PORT, TLS_PORT, UDP_PORT, ONE, TWO, *PODS = sys.argv[1:]
PORT, TLS_PORT, UDP_PORT = int(PORT), int(TLS_PORT), int(UDP_PORT)

elb = boto3.client(
    "elbv2",
    endpoint_url=ENDPOINT,
    region_name="us-east-1",
    aws_access_key_id="any",
    aws_secret_access_key="any",
    config=botocore.config.Config(retries={"total_max_attempts": 1}),
)
MODEL = elb.meta.service_model
called = set()


def hold(shape, value, where):
    """Holds a value of an answer to its shape; botocore itself passes unknown values over."""
    if isinstance(shape, StructureShape):
        for name in shape.required_members:
            assert name in value, f"{where}.{name} is missing"
        for name, inner in value.items():
            assert name in shape.members, f"{where}.{name} is unknown"
            hold(shape.members[name], inner, f"{where}.{name}")
    elif isinstance(shape, ListShape):
        for inner in value:
            hold(shape.member, inner, where)
    elif shape.type_name == "string":
        assert not shape.enum or value in shape.enum, f"{where} is {value!r}"
    elif shape.type_name == "integer":
        low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 1 << 31)
        assert low <= value <= high, f"{where} is {value}"


def tags_of(element):
    for child in element:
        yield child.tag.split("}")[1]
        yield from tags_of(child)


def after(http_response, parsed, model, **_):
    """Every answer: of the model, and without an element that botocore does not know."""
    if http_response.status_code != 200:
        return
    called.add(model.name)
    body = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    hold(model.output_shape, body, model.name)
    assert len(parsed["ResponseMetadata"]["RequestId"]) == 36
    known = {"member", "ResponseMetadata", "RequestId"}
    known |= {f"{model.name}Result", f"{model.name}Response"}
    names = set()

    def members(shape):
        if isinstance(shape, ListShape):
            members(shape.member)
        elif isinstance(shape, StructureShape):
            for name, inner in shape.members.items():
                names.add(name)
                members(inner)

    members(model.output_shape)
    unknown = set(tags_of(tree.fromstring(http_response.content))) - known - names
    assert not unknown, f"{model.name}: {unknown}"


elb.meta.events.register("after-call.elbv2", after)


def fails(code, operation, **arguments):
    try:
        getattr(elb, operation)(**arguments)
    except botocore.exceptions.ClientError as error:
        got = error.response["Error"]["Code"]
        assert got == code, f"{operation} {arguments}: {got}, not {code}: {error}"
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        # The class of the exception is made of the code, where the model has one.
        if code not in ("ValidationError", "InvalidAction"):
            names = {shape.error_code for shape in MODEL.error_shapes}
            assert code in names, code
        return
    raise AssertionError(f"{operation} {arguments} does not fail with {code}")


def get(port=PORT):
    with urllib.request.urlopen(f"http://{NODE}:{port}/", timeout=5) as answer:
        return answer.read().decode()


def secure(name):
    """The certificate for a name, and who answers behind it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((NODE, TLS_PORT), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=name) as stream,
    ):
        stream.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(stream)
        answer.begin()
        return stream.getpeercert(binary_form=True), answer.read()


def wait(name, **arguments):
    elb.get_waiter(name).wait(WaiterConfig={"Delay": 1, "MaxAttempts": 30}, **arguments)


def target(pod):
    host, port = pod.rsplit(":", 1)
    return {"Id": host, "Port": int(port)}


def attributes(answer):
    return {pair["Key"]: pair["Value"] for pair in answer["Attributes"]}


def create_group(name, **more):
    wanted = {
        "Name": name,
        "Protocol": "TCP",
        "Port": 80,
        "VpcId": "vpc-1",
        "TargetType": "ip",
        "HealthCheckIntervalSeconds": 5,
        "HealthCheckTimeoutSeconds": 2,
    }
    return elb.create_target_group(**(wanted | more))["TargetGroups"][0]


# A load balancer, twice: the second call gives the same one.
wanted = {
    "Name": "web",
    "Type": "network",
    "Scheme": "internal",
    "SubnetMappings": [{"SubnetId": "subnet-a", "PrivateIPv4Address": NODE}],
    "Tags": [{"Key": "team", "Value": "a + b = c"}],
}
made = elb.create_load_balancer(**wanted)["LoadBalancers"][0]
assert made["State"]["Code"] == "provisioning", made
lb = made["LoadBalancerArn"]
assert elb.create_load_balancer(**wanted)["LoadBalancers"][0]["LoadBalancerArn"] == lb
wait("load_balancer_exists", Names=["web"])
wait("load_balancer_available", LoadBalancerArns=[lb])
told = elb.describe_load_balancers(Names=["web"])["LoadBalancers"][0]
assert told["Type"] == "network" and told["Scheme"] == "internal", told
assert told["DNSName"] == f"web-{lb.rsplit('/', 1)[1]}.elb.us-east-1.amazonaws.com", told
assert told["AvailabilityZones"][0]["LoadBalancerAddresses"][0]["IpAddress"] == NODE, told
assert told["CreatedTime"].year > 2000, told

# Target groups: the defaults of AWS, a change of the check.
group = create_group("web")
tg = group["TargetGroupArn"]
assert (group["HealthyThresholdCount"], group["UnhealthyThresholdCount"]) == (5, 2), group
spare = create_group("spare")["TargetGroupArn"]
changed = elb.modify_target_group(
    TargetGroupArn=spare, HealthCheckProtocol="HTTP", HealthCheckPath="/ready"
)["TargetGroups"][0]
assert (changed["HealthCheckPath"], changed["Matcher"]["HttpCode"]) == ("/ready", "200-399")

# Targets: unused without a listener, in service with one, and traffic.
elb.register_targets(TargetGroupArn=tg, Targets=[target(PODS[0])])
state = elb.describe_target_health(TargetGroupArn=tg)["TargetHealthDescriptions"][0]
assert state["TargetHealth"]["State"] == "unused", state
assert state["TargetHealth"]["Reason"] == "Target.NotInUse", state
listen = {
    "LoadBalancerArn": lb,
    "Protocol": "TCP",
    "Port": PORT,
    "DefaultActions": [{"Type": "forward", "TargetGroupArn": tg}],
}
listener = elb.create_listener(**listen)["Listeners"][0]["ListenerArn"]
assert elb.create_listener(**listen)["Listeners"][0]["ListenerArn"] == listener
wait("target_in_service", TargetGroupArn=tg)
assert get() == "one", get()
state = elb.describe_target_health(
    TargetGroupArn=tg, Targets=[target(PODS[0])], Include=["AnomalyDetection"]
)["TargetHealthDescriptions"][0]
assert state["AnomalyDetection"]["Result"] == "normal", state

# Attributes of all three.
elb.modify_target_group_attributes(
    TargetGroupArn=tg,
    Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "0"}],
)
told = attributes(elb.describe_target_group_attributes(TargetGroupArn=tg))
assert told["deregistration_delay.timeout_seconds"] == "0" and len(told) == 13, told
elb.modify_load_balancer_attributes(
    LoadBalancerArn=lb,
    Attributes=[
        {"Key": "load_balancing.cross_zone.enabled", "Value": "true"},
        {"Key": "deletion_protection.enabled", "Value": "true"},
    ],
)
told = attributes(elb.describe_load_balancer_attributes(LoadBalancerArn=lb))
assert told["load_balancing.cross_zone.enabled"] == "true" and len(told) == 9, told
elb.modify_listener_attributes(
    ListenerArn=listener, Attributes=[{"Key": "tcp.idle_timeout.seconds", "Value": "60"}]
)
told = attributes(elb.describe_listener_attributes(ListenerArn=listener))
assert told == {"tcp.idle_timeout.seconds": "60"}, told

# Another target takes over; the first one drains and is gone.
elb.register_targets(TargetGroupArn=tg, Targets=[target(PODS[1])])
wait("target_in_service", TargetGroupArn=tg, Targets=[target(PODS[1])])
elb.deregister_targets(TargetGroupArn=tg, Targets=[target(PODS[0])])
wait("target_deregistered", TargetGroupArn=tg, Targets=[target(PODS[0])])
assert {get() for _ in range(8)} == {"two"}

# The listener is changed to weighted groups, and back.
weighted = {
    "TargetGroups": [
        {"TargetGroupArn": tg, "Weight": 1},
        {"TargetGroupArn": spare, "Weight": 0},
    ]
}
changed = elb.modify_listener(
    ListenerArn=listener, DefaultActions=[{"Type": "forward", "ForwardConfig": weighted}]
)["Listeners"][0]
weights = {
    pair["TargetGroupArn"]: pair["Weight"]
    for pair in changed["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
}
assert weights == {tg: 1, spare: 0}, changed
assert get() == "two"
elb.modify_listener(ListenerArn=listener, DefaultActions=listen["DefaultActions"])
assert [
    each["ListenerArn"] for each in elb.describe_listeners(LoadBalancerArn=lb)["Listeners"]
] == [listener]
assert elb.describe_listener_certificates(ListenerArn=listener)["Certificates"] == []
elb.remove_listener_certificates(
    ListenerArn=listener, Certificates=[{"CertificateArn": "arn:aws:acm:::certificate/x"}]
)

# Datagrams: a listener of UDP, made one of TCP and UDP and back; targets are checked over TCP.
with (
    socket.create_server(("127.0.0.1", 0)) as checked,
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo,
):
    echo.bind(checked.getsockname())
    echo.settimeout(10)
    names = create_group("names", Protocol="TCP_UDP", Port=53)["TargetGroupArn"]
    told = attributes(elb.describe_target_group_attributes(TargetGroupArn=names))
    assert told["deregistration_delay.connection_termination.enabled"] == "true", told
    elb.register_targets(TargetGroupArn=names, Targets=[target("%s:%d" % checked.getsockname())])
    action = [{"Type": "forward", "TargetGroupArn": names}]
    datagrams = elb.create_listener(
        LoadBalancerArn=lb, Protocol="UDP", Port=UDP_PORT, DefaultActions=action
    )["Listeners"][0]["ListenerArn"]
    wait("target_in_service", TargetGroupArn=names)
    for protocol in ("UDP", "TCP_UDP", "UDP"):
        changed = elb.modify_listener(ListenerArn=datagrams, Protocol=protocol)["Listeners"][0]
        assert changed["Protocol"] == protocol, changed
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect((NODE, UDP_PORT))
            client.send(b"who")
            echo.sendto(b"me", echo.recvfrom(100)[1])
            assert client.recv(100) == b"me"
    fails("IncompatibleProtocols", "modify_listener", ListenerArn=datagrams, Protocol="TLS",
          Certificates=[{"CertificateArn": ONE}])
    elb.delete_listener(ListenerArn=datagrams)
    elb.delete_target_group(TargetGroupArn=names)

# A TLS listener with a second certificate, and without it.
forward = listen["DefaultActions"]
tls = elb.create_listener(
    LoadBalancerArn=lb,
    Protocol="TLS",
    Port=TLS_PORT,
    Certificates=[{"CertificateArn": ONE}],
    SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
    AlpnPolicy=["HTTP1Only"],
    DefaultActions=forward,
)["Listeners"][0]["ListenerArn"]
default, who = secure("one.test")
assert who == b"two" and secure("two.test")[0] == default, who
elb.add_listener_certificates(ListenerArn=tls, Certificates=[{"CertificateArn": TWO}])
told = elb.describe_listener_certificates(ListenerArn=tls)["Certificates"]
assert {each["CertificateArn"]: each["IsDefault"] for each in told} == {ONE: True, TWO: False}, told
assert secure("one.test")[0] == default != secure("two.test")[0]
elb.remove_listener_certificates(ListenerArn=tls, Certificates=[{"CertificateArn": TWO}])
assert secure("two.test")[0] == default
fails("CertificateNotFound", "add_listener_certificates", ListenerArn=tls,
      Certificates=[{"CertificateArn": ONE + "x"}])
elb.delete_listener(ListenerArn=tls)

# Subnets, groups, address types: what can be set.
zones = elb.set_subnets(LoadBalancerArn=lb, Subnets=["subnet-a"])["AvailabilityZones"]
assert zones[0]["LoadBalancerAddresses"][0]["IpAddress"] == NODE, zones
assert elb.set_security_groups(LoadBalancerArn=lb, SecurityGroups=[])["SecurityGroupIds"] == []
assert elb.set_ip_address_type(LoadBalancerArn=lb, IpAddressType="ipv4")["IpAddressType"] == "ipv4"

# Tags.
elb.add_tags(ResourceArns=[lb, tg], Tags=[{"Key": "stage", "Value": "t\u00e9st"}])
elb.remove_tags(ResourceArns=[tg], TagKeys=["stage"])
told = elb.describe_tags(ResourceArns=[lb, tg, listener])["TagDescriptions"]
told = {each["ResourceArn"]: {tag["Key"]: tag["Value"] for tag in each["Tags"]} for each in told}
assert told == {lb: {"team": "a + b = c", "stage": "t\u00e9st"}, tg: {}, listener: {}}, told

# Lists in pages.
pages = elb.get_paginator("describe_target_groups").paginate(PaginationConfig={"PageSize": 1})
assert [page["TargetGroups"][0]["TargetGroupName"] for page in pages] == ["spare", "web"]
policies = elb.describe_ssl_policies(Names=["ELBSecurityPolicy-TLS13-1-3-2021-06"])["SslPolicies"]
assert policies[0]["SslProtocols"] == ["TLSv1.3"], policies
limits = {each["Name"]: each["Max"] for each in elb.describe_account_limits()["Limits"]}
assert limits["listeners-per-network-load-balancer"] == "50", limits

# Calls that fail, with the codes of AWS.
gone_lb, gone_tg, gone_listener = (arn[:-1] + "z" for arn in (lb, tg, listener))
new = wanted | {"Name": "new"}
fails("DuplicateLoadBalancerName", "create_load_balancer", **(wanted | {"Scheme": "internet-facing"}))
fails("InvalidConfigurationRequest", "create_load_balancer", **(new | {"Type": "application"}))
fails("ValidationError", "create_load_balancer", **(new | {"Name": "-new"}))
fails("InvalidScheme", "create_load_balancer", **(new | {"Scheme": "public"}))
fails(
    "SubnetNotFound",
    "create_load_balancer",
    **(new | {"SubnetMappings": [{"SubnetId": "subnet-z"}]}),
)
fails("InvalidSecurityGroup", "create_load_balancer", **(new | {"SecurityGroups": ["sg-1"]}))
fails("DuplicateTagKeys", "create_load_balancer", **(new | {"Tags": wanted["Tags"] * 2}))
fails("LoadBalancerNotFound", "describe_load_balancers", LoadBalancerArns=[gone_lb])
fails("LoadBalancerNotFound", "describe_load_balancers", Names=["no"])
fails("OperationNotPermitted", "delete_load_balancer", LoadBalancerArn=lb)
fails("ValidationError", "delete_load_balancer", LoadBalancerArn="web")
fails("DuplicateTargetGroupName", "create_target_group", Name="web", Protocol="TCP", Port=81,
      VpcId="vpc-1", TargetType="ip")
fails("ResourceInUse", "delete_target_group", TargetGroupArn=tg)
fails("TargetGroupNotFound", "describe_target_health", TargetGroupArn=gone_tg)
fails("InvalidTarget", "register_targets", TargetGroupArn=tg, Targets=[{"Id": "i-1"}])
fails("ListenerNotFound", "delete_listener", ListenerArn=gone_listener)
fails("DuplicateListener", "create_listener", **(listen | {
    "DefaultActions": [{"Type": "forward", "TargetGroupArn": spare}]}))
fails("UnsupportedProtocol", "create_listener", **(listen | {"Port": 1, "Protocol": "QUIC"}))
fails("TargetGroupNotFound", "create_listener", **(listen | {"Port": 1, "DefaultActions": [
    {"Type": "forward", "TargetGroupArn": gone_tg}]}))
fails("TooManyActions", "create_listener", **(listen | {"Port": 1, "DefaultActions": forward * 2}))
fails("InvalidLoadBalancerAction", "create_listener", **(listen | {"Port": 1, "DefaultActions": [
    {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]}))
fails("SSLPolicyNotFound", "describe_ssl_policies", Names=["ELBSecurityPolicy-1"])
fails("ValidationError", "modify_target_group_attributes", TargetGroupArn=tg,
      Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "4000"}])
fails("TooManyTags", "add_tags", ResourceArns=[tg],
      Tags=[{"Key": f"t{number}", "Value": ""} for number in range(51)])
fails("OperationNotPermitted", "describe_rules", ListenerArn=listener)
fails("InvalidConfigurationRequest", "add_listener_certificates", ListenerArn=listener,
      Certificates=[{"CertificateArn": "arn:aws:acm:::certificate/x"}])

# The end: in the order that a user would take, twice where that does not matter.
elb.modify_load_balancer_attributes(
    LoadBalancerArn=lb, Attributes=[{"Key": "deletion_protection.enabled", "Value": "false"}]
)
elb.delete_listener(ListenerArn=listener)
elb.delete_load_balancer(LoadBalancerArn=lb)
elb.delete_load_balancer(LoadBalancerArn=lb)
wait("load_balancers_deleted", LoadBalancerArns=[lb])
for arn in (tg, spare):
    elb.delete_target_group(TargetGroupArn=arn)
assert elb.describe_target_groups()["TargetGroups"] == []

print(" ".join(sorted(called)))
