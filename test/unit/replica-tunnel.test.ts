/** What ip(8) shows of links, on kernels that have vxlan and on those that have not loaded it. */
import t from "tap";
import { hasTunnel } from "../../agent/dataplane/replicas.ts";

t.test("the tunnel is there when it is shown by its name", async (t) => {
  t.equal(hasTunnel('[{"ifindex":7,"ifname":"spread","flags":["BROADCAST"],"mtu":1450}]'), true);
  t.equal(hasTunnel('[{},{},{"ifname":"spread"}]'), true);
});

t.test("a kernel without vxlan shows empty objects in place of other links", async (t) => {
  t.equal(hasTunnel("[{},{}]"), false);
  t.equal(hasTunnel("[]"), false);
  t.equal(hasTunnel(""), false);
});
