package spore.host;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TimeZone;

/** What a tenant finds around it, beyond its classes. */
final class Surroundings {
  private static final long MIB = 1 << 20;

  /**
   * How far the heap may grow under a memory limit. The rest is for what HotSpot has outside of it:
   * code, metaspace, stacks, the collector's tables. What the zygote has of these is not charged to
   * the sandbox, so it needs less than a JVM of its own would.
   */
  static long heapFor(long memoryLimit) {
    return Math.max(8 * MIB, memoryLimit - Math.max(28 * MIB, memoryLimit / 5));
  }

  static void setEnvironment(Map<String, String> variables) {
    byte[][] flat = new byte[variables.size() * 2][];
    int at = 0;
    for (Map.Entry<String, String> variable : variables.entrySet()) {
      flat[at++] = variable.getKey().getBytes(StandardCharsets.UTF_8);
      flat[at++] = variable.getValue().getBytes(StandardCharsets.UTF_8);
    }
    Native.setEnvironment(flat);
    if (variables.containsKey("TZ")) {
      System.clearProperty("user.timezone");
      TimeZone.setDefault(null); // asks the environment again
    }
  }

  static void changeDirectory(String path) {
    Native.changeDirectory(path);
    System.setProperty("user.dir", path);
  }

  private Surroundings() {}
}
