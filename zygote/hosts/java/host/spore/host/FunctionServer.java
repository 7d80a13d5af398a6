package spore.host;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Serves a function: loads its handler, then answers one invocation after another. Frames are
 * zygote/protocol.h's. Everything here runs in the tenant's process; nothing of Spore's security
 * depends on it.
 */
final class FunctionServer {
  private static final int LOAD = 1;
  private static final int INVOKE = 2;
  private static final int RESPONSE = 18;
  private static final int FAILED = 19;
  private static final int FATAL = 20;

  private final Loaders loaders;
  private final TaskLoader loader;
  private Map<String, Object> load;
  private Handler handler;
  private byte[] answer;

  FunctionServer(Loaders loaders) {
    this.loaders = loaders;
    this.loader = new TaskLoader(loaders);
  }

  void serve() {
    long[] header = new long[2];
    byte[] body = Native.receive(header);
    if (body == null || header[0] != LOAD) {
      Runtime.getRuntime().halt(1);
    }
    long started = System.nanoTime();
    try {
      load(body);
    } catch (Failure e) {
      Native.send(FATAL, 0, e.toJson());
      Runtime.getRuntime().halt(1);
    }
    // Goes out with the first answer: two wake-ups of the daemon would cost more than they tell.
    Native.queueLoaded(started, loaded());
    while (serveOne(header)) {}
    awaitEnd();
  }

  /** False when the channel has ended. */
  private boolean serveOne(long[] header) {
    byte[] body;
    try {
      body = Native.receive(header);
    } catch (OutOfMemoryError e) { // it has been read all the same
      return Native.send(FAILED, header[1], Failure.of(e).toJson());
    }
    if (body == null) {
      return false;
    }
    if (header[0] != INVOKE) {
      Runtime.getRuntime().halt(1);
    }
    int type = invoke(body);
    flush();
    boolean sent = Native.send(type, header[1], answer);
    answer = null;
    return sent;
  }

  private void load(byte[] body) throws Failure {
    try {
      load = Json.readObject(body, 0, body.length);
      String root = (String) load.getOrDefault("task_root", Host.TASK_ROOT); // elsewhere for warming up only
      enter(root);
      loader.enter(root);
      Native.setSystemClassLoader(loader);
      Thread.currentThread().setContextClassLoader(loader);
      handler = Handler.find((String) load.get("handler"), loader);
    } catch (Json.Malformed e) {
      throw new Failure("Runtime.InternalError", Failure.messageOf(e));
    } catch (Failure e) {
      throw e;
    } catch (Throwable e) { // OutOfMemoryError, StackOverflowError in an initializer
      throw Failure.of(e);
    }
  }

  /** Of the classes that spored asks after, those that are loaded, as JSON; null: it does not ask. */
  private byte[] loaded() {
    if (!(load.get("watch") instanceof List<?> names)) {
      return null;
    }
    List<Object> found = new ArrayList<>();
    for (Object name : names) {
      if (loaders.hasLoaded(((String) name).split("::")[0])) {
        found.add(name);
      }
    }
    return Json.write(found);
  }

  @SuppressWarnings("unchecked")
  private void enter(String root) {
    long memory = Long.parseLong((String) load.get("memory_limit_in_mb")) << 20;
    Native.limitHeap(Surroundings.heapFor(memory));
    Surroundings.setEnvironment(
        (Map<String, String>) (Map<?, ?>) load.getOrDefault("environment", Map.of()));
    Surroundings.changeDirectory(root);
    System.setProperty("java.class.path", root);
  }

  /** Calls the handler; leaves the answer's body, returns its frame's type. */
  private int invoke(byte[] body) {
    Failure failure;
    try {
      int metaLength = ByteBuffer.wrap(body).order(ByteOrder.nativeOrder()).getInt();
      HostContext context = new HostContext(load, body, 4, metaLength);
      int from = 4 + metaLength;
      answer = handler.call(body, from, body.length - from, context);
      return RESPONSE;
    } catch (Failure e) {
      failure = e;
    } catch (Throwable e) {
      failure = Failure.of(e);
    }
    answer = failure.toJson();
    return FAILED;
  }

  /** A handler may have closed its output; that is no reason to keep its answer back. */
  private static void flush() {
    System.out.flush();
    System.err.flush();
  }

  /**
   * The handler has closed the request channel. spored ends what has none, and tells why; an exit of
   * our own would be told in its place.
   */
  private static void awaitEnd() {
    while (true) {
      try {
        Thread.sleep(60_000);
      } catch (InterruptedException e) {
        // the tenant's doing; go on
      }
    }
  }

  /** One rehearsed load, and calls of what was loaded; see {@link WarmUp}. */
  void rehearse(byte[] loadText, List<byte[]> bodies) throws Failure {
    load(loadText);
    for (byte[] body : bodies) {
      rehearse(body);
    }
  }

  void rehearse(byte[] body) throws Failure {
    if (invoke(body) != RESPONSE) {
      throw new Failure("", "the host's own handler fails: " + new String(answer, StandardCharsets.UTF_8));
    }
  }
}
