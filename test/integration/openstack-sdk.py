"""A load balancer's life through openstacksdk, as one user: openstack-sdk.py, with the user in OS_ variables."""
import openstack
from openstack import exceptions

SUBNET = "00000000-0000-4000-8000-00000000000a"

lb = openstack.connect().load_balancer


def refused(status, work):
    try:
        work()
    except exceptions.HttpException as error:
        assert error.status_code == status, error
        return str(error)
    raise AssertionError("not refused")


def settled(load_balancer):
    return lb.wait_for_load_balancer(load_balancer.id, interval=0.1)


# everything at once, and as a graph
graph = {
    "name": "http", "protocol": "HTTP", "protocol_port": 80,
    "default_pool": {
        "name": "p", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN",
        "members": [{"address": "10.9.0.1", "protocol_port": 80}],
        "healthmonitor": {"type": "TCP", "delay": 3, "timeout": 2, "max_retries": 2},
    },
}
web = lb.create_load_balancer(name="web", vip_subnet_id=SUBNET, tags=["a", "b"], listeners=[graph])
assert web.provisioning_status == "PENDING_CREATE" and web.vip_subnet_id == SUBNET
web = settled(web)
assert (web.name, web.provider, web.is_admin_state_up, sorted(web.tags)) == ("web", "amphora", True, ["a", "b"])
assert lb.find_load_balancer("web").id == web.id and lb.find_load_balancer(web.id).name == "web"
assert lb.find_load_balancer("nothing") is None
refused(404, lambda: lb.get_load_balancer("00000000-0000-4000-8000-000000000000"))
http, pool = lb.find_listener("http"), lb.find_pool("p")
assert (http.load_balancers, http.default_pool_id) == ([{"id": web.id}], pool.id)
assert [m.address for m in lb.members(pool)] == ["10.9.0.1"]
assert lb.get_health_monitor(pool.health_monitor_id).type == "TCP"

# pages, filters and tags
for n in range(5):
    lb.create_load_balancer(name=f"more{n}", vip_subnet_id=SUBNET, is_admin_state_up=n > 2, tags=[f"t{n % 2}"])
assert len(list(lb.load_balancers(limit=2))) == 6
assert sorted(each.name for each in lb.load_balancers(tags="t1")) == ["more1", "more3"]
assert sorted(each.name for each in lb.load_balancers(is_admin_state_up=False)) == ["more0", "more1", "more2"]
assert [each.name for each in lb.load_balancers(name="more4", project_id=web.project_id)] == ["more4"]

# parts, one by one
assert lb.update_load_balancer(web, name="site", description="d").name == "site"
tcp = lb.create_listener(
    name="tcp", load_balancer_id=web.id, protocol="TCP", protocol_port=81, allowed_cidrs=["10.0.0.0/8"],
    timeout_client_data=1000, connection_limit=5)
assert (tcp.allowed_cidrs, tcp.timeout_client_data, tcp.connection_limit) == (["10.0.0.0/8"], 1000, 5)
assert lb.update_listener(tcp, connection_limit=-1).connection_limit == -1
sticky = {"type": "SOURCE_IP"}
spare = lb.create_pool(name="spare", listener_id=tcp.id, protocol="TCP", lb_algorithm="LEAST_CONNECTIONS", session_persistence=sticky)
assert spare.session_persistence["type"] == "SOURCE_IP" and lb.get_listener(tcp).default_pool_id == spare.id
assert lb.update_pool(spare, session_persistence=None).session_persistence is None
member = lb.create_member(spare, name="m", address="10.9.0.2", protocol_port=80, weight=3, subnet_id=SUBNET, backup=True)
assert (member.weight, member.subnet_id, member.backup) == (3, SUBNET, True)
assert lb.update_member(member, spare, weight=0).weight == 0
assert lb.find_member("m", spare).id == member.id
monitor = lb.create_health_monitor(name="h", pool_id=spare.id, type="TCP", delay=5, timeout=3, max_retries=2)
assert monitor.pools == [{"id": spare.id}]
assert lb.update_health_monitor(monitor, delay=9).delay == 9
policy = lb.create_l7_policy(name="no", listener_id=http.id, action="REJECT")
goes = lb.create_l7_policy(name="go", listener_id=http.id, action="REDIRECT_TO_URL", redirect_url="http://x/", position=1)
assert [each.name for each in sorted(lb.l7_policies(), key=lambda each: each.position)] == ["go", "no"]
assert lb.update_l7_policy(policy, position=1).position == 1
rule = lb.create_l7_rule(policy, type="PATH", compare_type="STARTS_WITH", rule_value="/x", invert=True)
assert lb.update_l7_rule(rule, policy, rule_value="/y").rule_value == "/y"
assert [each.invert for each in lb.l7_rules(policy)] == [True]

# a pool's members, all in one
def batch(query, *members):
    response = lb.put(f"/lbaas/pools/{pool.id}/members{query}", json={"members": list(members)})
    assert response.status_code == 202, response.text
    settled(web)
    return sorted((each.address, each.weight) for each in lb.members(pool))

first, second = ({"address": f"10.9.1.{n}", "protocol_port": 80, "weight": n} for n in (1, 2))
assert batch("", first, second) == [("10.9.1.1", 1), ("10.9.1.2", 2)]
third = {"address": "10.9.1.3", "protocol_port": 80, "weight": 3}
assert batch("?additive_only=true", third) == [("10.9.1.1", 1), ("10.9.1.2", 2), ("10.9.1.3", 3)]
assert batch("", {**second, "weight": 9}) == [("10.9.1.2", 9)]

# numbers
assert lb.get_load_balancer_statistics(web.id).active_connections == 0
assert lb.get_listener_statistics(http.id).total_connections == 0
assert [each.name for each in lb.providers()] == ["amphora", "octavia"]
assert lb.get_quota(web.project_id).load_balancers == -1
assert lb.get_quota_default().pools == -1

# what is refused says why
assert "has children" in refused(400, lambda: lb.delete_load_balancer(web))
assert "connection_limit" in refused(400, lambda: lb.update_listener(tcp, connection_limit=0))
assert "already" in refused(409, lambda: lb.create_listener(load_balancer_id=web.id, protocol="TCP", protocol_port=80))

# the end
lb.delete_l7_rule(rule, policy)
for each in (policy, goes):
    lb.delete_l7_policy(each)
lb.delete_health_monitor(monitor)
lb.delete_member(member, spare)
lb.delete_pool(spare)
lb.delete_listener(tcp)
for each in lb.load_balancers():
    lb.delete_load_balancer(each, cascade=True)
assert list(lb.load_balancers()) == []
refused(404, lambda: lb.get_load_balancer(web.id))
