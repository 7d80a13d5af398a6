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
  private static final int CALLS = 1_500;
  // On a busy host less has to do: an image that is not ready in time is no use.
  private static final long MOST_NANOS = 6_000_000_000L;
  private static final int SETTLING_LOADS = 60;
  private static final long MOST_SETTLING_NANOS = 3_000_000_000L;
  // What a branch of the compiled code has not seen makes a child interpret it again.
  private static final String[] EVENTS = {
    "{\"a\":[1,\"b\",null],\"c\":{\"d\":1.5,\"e\":true}}",
    "{}",
    " { \"list\" : [ -1, 0, -2.75, 1e3, 1E-2, 123456789012, 98765432109876543210 ], \"f\": false }\n",
    "{\"text\":\"\\u2603 \\n\\t\\\"\\\\ h\u00e4llo \u2603\",\"\":\"\",\"nested\":{\"deep\":[[[{}]],[]]}}",
    "{\"v\":1}",
    "{\"id\": 4711, \"name\": \"ada\", \"price\": 9.99, \"tags\": [\"x\", \"y\"], \"none\": null, \"n\": -5}",
    "{\"list\":[1,22,-333],\"nested\":{\"zero\":0,\"half\":0.5,\"big\":12345678901234567},\"text\":\"\"}",
  };
  // For handlers that take anything.
  private static final String[] VALUES = {"1", "-2.5", "\"text\"", "true", "null", "[]", "[1,{\"a\":2}]", ""};
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
  private static final String ANYTHING = "SporeWarmReflected::answer";

  static void run(Loaders loaders, String hostDirectory) throws Failure {
    ClassLoader before = Thread.currentThread().getContextClassLoader();
    List<byte[]> bodies = bodies(EVENTS);
    List<byte[]> values = bodies(VALUES);
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
      String handler = HANDLERS[i % HANDLERS.length];
      server.rehearse(load(handler, hostDirectory), handler.equals(ANYTHING) ? values : bodies);
      if (i % 60 < HANDLERS.length) {
        servers.add(server);
      }
    }
    for (int i = 0; i < CALLS && System.nanoTime() < end; i++) {
      for (byte[] body : bodies) {
        servers.get(i % servers.size()).rehearse(body);
      }
    }
    settle(loaders, hostDirectory, bodies);
    Surroundings.changeDirectory("/");
    Thread.currentThread().setContextClassLoader(before);
  }

  /** The end of it, in a copy of the zygote that has loaded more. */
  static void settle(Loaders loaders, String hostDirectory) throws Failure {
    ClassLoader before = Thread.currentThread().getContextClassLoader();
    settle(loaders, hostDirectory, bodies(EVENTS));
    Surroundings.changeDirectory("/");
    Thread.currentThread().setContextClassLoader(before);
  }

  /**
   * Until a while of requests has given the compilers nothing to do: a method at the edge of being
   * compiled would be compiled in every child.
   */
  private static void settle(Loaders loaders, String hostDirectory, List<byte[]> bodies) throws Failure {
    long end = System.nanoTime() + MOST_SETTLING_NANOS;
    String before;
    String now = Quiet.awaitCompilers();
    do {
      before = now;
      for (int i = 0; i < SETTLING_LOADS; i++) {
        new FunctionServer(loaders).rehearse(load(HANDLERS[i % 2], hostDirectory), bodies);
      }
      now = Quiet.awaitCompilers();
    } while (!now.equals(before) && System.nanoTime() < end);
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

  private static List<byte[]> bodies(String[] events) {
    List<byte[]> bodies = new ArrayList<>();
    for (String event : events) {
      bodies.add(body(event));
    }
    return bodies;
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
