package probe;

import java.io.File;
import java.io.FileOutputStream;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Handlers that break limits, or what is asked of them. */
public final class Faults {
  static class Broken extends IllegalArgumentException {
    Broken(String message) {
      super(message);
    }

    @Override
    public String toString() {
      throw new IllegalStateException("even this");
    }
  }

  static class Peculiar extends RuntimeException {
    @Override
    public String getMessage() {
      throw new IllegalStateException("no message");
    }
  }

  public static class BadStart {
    static final int NUMBER = Integer.parseInt("not a number");

    public Object handle() {
      return NUMBER;
    }
  }

  public static class BadMake {
    public BadMake() {
      throw new IllegalStateException("will not be made");
    }

    public Object handle() {
      return 1;
    }
  }

  public abstract static class Abstract {
    public Object handle() {
      return 1;
    }
  }

  public static Object fails(Map<String, Object> event) {
    switch ((String) event.get("what")) {
      case "broken":
        throw new Broken("broken: " + event.get("why"));
      case "peculiar":
        throw new Peculiar();
      case "recursion":
        return fails(event);
      case "long":
        throw new IllegalStateException("x".repeat(10 << 20));
      case "surrogate":
        throw new IllegalStateException("half \ud800 of a pair");
      case "caused":
        throw new IllegalStateException("outer", new IOException("inner"));
      case "error":
        throw new AssertionError("an error");
      default:
        throw new IllegalArgumentException((String) event.get("what"));
    }
  }

  /** Keeps what it allocates, in pieces of so many bytes. */
  public static Object eats(Map<String, Object> event) {
    int piece = (Integer) event.getOrDefault("piece", 1 << 20);
    List<byte[]> kept = new ArrayList<>();
    while (true) {
      kept.add(new byte[piece]);
    }
  }

  /** Memory outside of the heap, which no collector counts. */
  public static Object eatsNative() {
    List<java.nio.ByteBuffer> kept = new ArrayList<>();
    while (true) {
      java.nio.ByteBuffer buffer = java.nio.ByteBuffer.allocateDirect(1 << 20);
      for (int i = 0; i < buffer.capacity(); i += 4096) {
        buffer.put(i, (byte) 1);
      }
      kept.add(buffer);
    }
  }

  /** Much more garbage than the limit, never much of it alive. */
  public static Object churns(Map<String, Object> event) {
    long bytes = ((Number) event.get("bytes")).longValue();
    List<byte[]> kept = new ArrayList<>();
    long sum = 0;
    for (long made = 0; made < bytes; made += 10_000) {
      byte[] block = new byte[10_000];
      sum += block.length;
      kept.add(block);
      if (kept.size() == 1000) {
        kept.clear();
      }
    }
    return sum;
  }

  public static Object exits(Map<String, Object> event) {
    int code = (Integer) event.get("code");
    if (Boolean.TRUE.equals(event.get("halt"))) {
      Runtime.getRuntime().halt(code);
    }
    System.exit(code);
    return null;
  }

  public static Object loops() {
    while (true) {
      Thread.onSpinWait();
    }
  }

  public static Object answers(Map<String, Object> event) {
    return "x".repeat((Integer) event.get("bytes"));
  }

  public static Object threads() {
    int started = 0;
    try {
      while (true) {
        Thread thread = new Thread(() -> {
          try {
            Thread.sleep(100_000);
          } catch (InterruptedException e) {
            // ends
          }
        });
        thread.setDaemon(true);
        thread.start();
        started++;
      }
    } catch (OutOfMemoryError e) {
      return Map.of("started", started, "error", e.getMessage());
    }
  }

  public static Object opens() {
    List<FileInputStream> open = new ArrayList<>();
    try {
      while (true) {
        open.add(new FileInputStream("/dev/null"));
      }
    } catch (IOException e) {
      return Map.of("opened", open.size(), "error", e.getMessage());
    }
  }

  public static Object fills() throws IOException {
    long written = 0;
    try (FileOutputStream out = new FileOutputStream(new File("/tmp/full"))) {
      byte[] block = new byte[1 << 16];
      while (true) {
        out.write(block);
        written += block.length;
      }
    } catch (IOException e) {
      return Map.of("written", written, "error", e.getMessage());
    }
  }

  public static Object floods(Map<String, Object> event) {
    int lines = (Integer) event.get("lines");
    for (int i = 0; i < lines; i++) {
      System.out.println("x".repeat(99));
      System.err.println("y".repeat(99));
    }
    return lines;
  }

  public static Object unserializable(Map<String, Object> event) {
    switch ((String) event.get("what")) {
      case "thread":
        return Thread.currentThread();
      case "nan":
        return Double.NaN;
      case "surrogate":
        return "\ud800";
      case "endless":
        Map<String, Object> map = new HashMap<>();
        map.put("self", map);
        return map;
      case "deep":
        Object value = null;
        for (int i = 0; i < 100_000; i++) {
          value = Map.of("in", value == null ? 1 : value);
        }
        return value;
      case "loader":
        return Faults.class.getClassLoader();
      case "class":
        return String.class;
      default:
        return new LinkedHashMap<>(event);
    }
  }

  /** Closes descriptors, the request channel among them, which is the first. */
  public static Object closes(Map<String, Object> event) throws Exception {
    sun.misc.Unsafe unsafe = unsafe();
    long offset = unsafe.objectFieldOffset(java.io.FileDescriptor.class.getDeclaredField("fd"));
    for (int fd = 3; fd <= (Integer) event.get("last"); fd++) {
      java.io.FileDescriptor descriptor = new java.io.FileDescriptor();
      unsafe.putInt(descriptor, offset, fd);
      new FileInputStream(descriptor).close();
    }
    return "closed";
  }

  /** Writes to descriptor 3 what the daemon does not expect. */
  public static Object rubbish() throws Exception {
    sun.misc.Unsafe unsafe = unsafe();
    java.io.FileDescriptor descriptor = new java.io.FileDescriptor();
    unsafe.putInt(descriptor, unsafe.objectFieldOffset(java.io.FileDescriptor.class.getDeclaredField("fd")), 3);
    new FileOutputStream(descriptor).write("rubbish, and more of it than a header has".getBytes());
    Thread.sleep(20_000);
    return "written";
  }

  /** Starts the hostile programs of tests/victims, which lie beside. */
  public static void runsVictims(InputStream in, OutputStream out) throws Exception {
    Process process =
        new ProcessBuilder("/usr/bin/python3", "-B", "/var/task/main.py")
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try (OutputStream to = process.getOutputStream()) {
      in.transferTo(to);
    }
    process.getInputStream().transferTo(out);
    process.waitFor();
  }

  public static Object crashes() throws Exception {
    unsafe().putInt(0L, 1);
    return "alive";
  }

  private static sun.misc.Unsafe unsafe() throws Exception {
    java.lang.reflect.Field field = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
    field.setAccessible(true);
    return (sun.misc.Unsafe) field.get(null);
  }

  private Faults() {}
}
