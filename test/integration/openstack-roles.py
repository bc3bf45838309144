"""Who may do what: openstack-roles.py USERS, with the OS_ variables of each in JSON, by name.

Prints a table of what came of what each has tried with a load balancer of alice's: yes; no; or - for 403.
"""
import json
import sys

import openstack
from openstack import exceptions

SUBNET = "00000000-0000-4000-8000-00000000000a"


def connect(variables):
    login = {key.lower().removeprefix("os_"): value for key, value in variables.items()}
    return openstack.connect(load_envvars=False, load_yaml_config=False, **login).load_balancer


def outcome(work):
    try:
        return "yes" if work() else "no"
    except exceptions.HttpException as error:
        return "-" if error.status_code == 403 else str(error)


users = {name: connect(variables) for name, variables in json.loads(sys.argv[1]).items()}
profile = users["admin"].create_flavor_profile(name="small", provider_name="amphora", flavor_data="{}")
users["admin"].create_flavor(name="small", flavor_profile_id=profile.id)
target = users["alice"].create_load_balancer(vip_subnet_id=SUBNET)

TRIES = {
    "list": lambda lb: target.id in [each.id for each in lb.load_balancers()],
    "show": lambda lb: lb.get_load_balancer(target.id).id == target.id,
    "change": lambda lb: lb.update_load_balancer(target.id, description="d").description == "d",
    "failover": lambda lb: lb.failover_load_balancer(target.id) is not None,
    "create": lambda lb: lb.create_load_balancer(vip_subnet_id=SUBNET).provisioning_status == "PENDING_CREATE",
    "quota": lambda lb: lb.get_quota(target.project_id).load_balancers == -1,
    "set-quota": lambda lb: lb.update_quota(target.project_id, load_balancers=-1).load_balancers == -1,
    "flavors": lambda lb: [each.name for each in lb.flavors()] == ["small"],
    "profiles": lambda lb: [each.name for each in lb.flavor_profiles()] == ["small"],
    "amphorae": lambda lb: list(lb.amphorae()) == [],
}

print("who", *TRIES)
for name, lb in users.items():
    print(name, *(outcome(lambda: work(lb)) for work in TRIES.values()))
