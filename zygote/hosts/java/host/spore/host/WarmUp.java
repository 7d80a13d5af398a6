package spore.host;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Does all that a request will do, on a handler of the host's own, so often that HotSpot has compiled
 * it; children inherit the code. Many classes of that handler are loaded, so that no compiled code
 * counts on there being only one.
 */
final class WarmUp {
  private static final int LOADS = 1_200;
  private static final int CALLS = 2_500;
  // On a busy host less has to do: an image that is not ready in time is no use.
  private static final long MOST_NANOS = 6_000_000_000L;
  // What a branch of the compiled code has not seen makes a child interpret it again.
  private static final String[] EVENTS = {
    "{\"a\":[1,\"b\",null],\"c\":{\"d\":1.5,\"e\":true}}",
    "{}",
    " { \"list\" : [ -1, 0, -2.75, 1e3, 1E-2, 123456789012, 98765432109876543210 ], \"f\": false }\n",
    "{\"text\":\"\\u2603 \\n\\t\\\"\\\\ h\u00e4llo \u2603\",\"\":\"\",\"nested\":{\"deep\":[[[{}]],[]]}}",
  };
  private static final String LIBRARY = "SporeWarmHandler";
  private static final int LIBRARY_LOADS = 120;
  // Gson keeps what it has found out about a class, and so the class: not many of these.
  private static final String[] TYPED = {"SporeWarmTyped", "SporeWarmTyped::handle"};
  private static final int TYPED_LOADS = 20;
  // The first is the one that a child rehearses; the way to it is the longest.
  private static final String[] HANDLERS = {
    "SporeWarmReflected",
    "SporeWarmPlain",
    "SporeWarmReflected::answer",
    "SporeWarmPlain::handleRequest",
    "SporeWarmReflected::answerStatically",
    "SporeWarmStream",
  };

  static void run(Loaders loaders, String hostDirectory) throws Failure {
    ClassLoader before = Thread.currentThread().getContextClassLoader();
    List<byte[]> bodies = new ArrayList<>();
    for (String event : EVENTS) {
      bodies.add(body(event));
    }
    List<FunctionServer> servers = new ArrayList<>();
    long end = System.nanoTime() + MOST_NANOS;
    for (int i = 0; i < LIBRARY_LOADS && System.nanoTime() < end; i++) {
      new FunctionServer(loaders).rehearse(load(LIBRARY, hostDirectory), bodies);
    }
    for (int i = 0; i < TYPED.length || i < TYPED_LOADS && System.nanoTime() < end; i++) {
      FunctionServer server = new FunctionServer(loaders);
      server.rehearse(load(TYPED[i % TYPED.length], hostDirectory), bodies);
      servers.add(server);
    }
    for (int i = 0; i < HANDLERS.length || i < LOADS && System.nanoTime() < end; i++) {
      FunctionServer server = new FunctionServer(loaders);
      server.rehearse(load(HANDLERS[i % HANDLERS.length], hostDirectory), bodies);
      if (i % 60 < HANDLERS.length) {
        servers.add(server);
      }
    }
    for (int i = 0; i < CALLS && System.nanoTime() < end; i++) {
      for (byte[] body : bodies) {
        servers.get(i % servers.size()).rehearse(body);
      }
    }
    Surroundings.changeDirectory("/");
    Thread.currentThread().setContextClassLoader(before);
  }

  /** The same once more, as a child does it. */
  static byte[] rehearsalLoad(String hostDirectory) {
    return load(HANDLERS[0], hostDirectory);
  }

  static byte[] rehearsalEvent() {
    return body(EVENTS[0]);
  }

  private static byte[] load(String handler, String hostDirectory) {
    Map<String, Object> load = new LinkedHashMap<>();
    load.put("mode", "function");
    load.put("task_root", hostDirectory);
    load.put("handler", handler);
    load.put("function_name", "warm");
    load.put("function_version", "0");
    load.put("memory_limit_in_mb", "128");
    load.put("environment", Map.of("LANG", "C.UTF-8"));
    return Json.write(load);
  }

  private static byte[] body(String event) {
    String meta =
        "{\"request_id\":\"01234567-89ab-cdef-0123-456789abcdef\",\"deadline_ms\":"
            + System.currentTimeMillis()
            + ",\"arn\":\"arn:aws:lambda:local:000000000000:function:warm\"}";
    byte[] first = meta.getBytes(StandardCharsets.UTF_8);
    byte[] second = event.getBytes(StandardCharsets.UTF_8);
    ByteBuffer body = ByteBuffer.allocate(4 + first.length + second.length);
    return body.order(ByteOrder.nativeOrder()).putInt(first.length).put(first).put(second).array();
  }

  private WarmUp() {}
}
