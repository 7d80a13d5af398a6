package probe;

import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryPoolMXBean;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.Selector;
import java.nio.channels.SelectionKey;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;
import spore.Context;

/** What the end-to-end tests want to know of a forked JVM: a static method each. */
public final class Probe {
  static int calls;

  public static Object echo(Object event) {
    return event;
  }

  public static Object counted() {
    return Map.of("count", ++calls, "pid", ProcessHandle.current().pid());
  }

  /** One value of every generator that could have been copied. */
  public static Object randomness() throws Exception {
    Map<String, Object> values = new TreeMap<>();
    byte[] bytes = new byte[16];
    new SecureRandom().nextBytes(bytes);
    values.put("SecureRandom", Arrays.toString(bytes));
    SecureRandom.getInstance("SHA1PRNG").nextBytes(bytes);
    values.put("SHA1PRNG", Arrays.toString(bytes));
    SecureRandom.getInstance("DRBG").nextBytes(bytes);
    values.put("DRBG", Arrays.toString(bytes));
    values.put("UUID", UUID.randomUUID().toString());
    values.put("Math.random", Math.random());
    values.put("Random", new Random().nextLong());
    values.put("ThreadLocalRandom", ThreadLocalRandom.current().nextLong());
    values.put("SplittableRandom", new SplittableRandom().nextLong());
    List<Integer> shuffled = new ArrayList<>(IntStream.range(0, 40).boxed().toList());
    Collections.shuffle(shuffled);
    values.put("shuffle", shuffled.toString());
    values.put("createTempFile", File.createTempFile("abc", "d").getName());
    values.put("Files.createTempFile", Files.createTempFile("a", "b").getFileName().toString());
    AtomicReference<Long> ofThread = new AtomicReference<>();
    Thread thread = new Thread(() -> ofThread.set(ThreadLocalRandom.current().nextLong()));
    thread.start();
    thread.join();
    values.put("thread", ofThread.get());
    values.put("common pool", CompletableFuture.supplyAsync(() -> ThreadLocalRandom.current().nextLong()).get());
    return values;
  }

  /** Of generators that a class of the image keeps since the zygote. */
  public static Object kept() throws Exception {
    byte[] first = new byte[16];
    byte[] second = new byte[16];
    Kept.SHA1.nextBytes(first);
    Kept.DRBG.nextBytes(second);
    return Map.of("SHA1PRNG", Arrays.toString(first), "DRBG", Arrays.toString(second), "hooked", Kept.hooked);
  }

  public static Object identity() throws Exception {
    Map<String, Object> values = new TreeMap<>();
    values.put("handle", ProcessHandle.current().pid());
    values.put("bean", ManagementFactory.getRuntimeMXBean().getPid());
    values.put("name", ManagementFactory.getRuntimeMXBean().getName());
    values.put("proc", Long.parseLong(Path.of("/proc/self").toRealPath().getFileName().toString()));
    values.put("alive", ProcessHandle.current().isAlive());
    values.put("user.dir", System.getProperty("user.dir"));
    values.put("absolute", new File("x").getAbsolutePath());
    values.put("path", Path.of("y").toAbsolutePath().toString());
    values.put("exists", Files.exists(Path.of("probe/Probe.class")) && new File("probe/Probe.class").exists());
    values.put("nano", System.nanoTime() > 0);
    values.put("threads", ManagementFactory.getThreadMXBean().getThreadCount());
    return values;
  }

  /** What the kernel says of each thread, HotSpot's own among them. */
  public static Object everyThread() throws Exception {
    List<Map<String, String>> threads = new ArrayList<>();
    for (File task : new File("/proc/self/task").listFiles()) {
      Map<String, String> found = new TreeMap<>();
      for (String line : Files.readAllLines(task.toPath().resolve("status"))) {
        found.put(line.substring(0, line.indexOf(':')), line.substring(line.indexOf(':') + 1).trim());
      }
      threads.add(found);
    }
    return threads;
  }

  public static Object sleep(int millis) throws InterruptedException {
    Thread.sleep(millis);
    return millis;
  }

  public static Object environment() {
    return System.getenv();
  }

  /** What of the host can be seen through class loaders. */
  public static Object loaders() {
    Map<String, Object> seen = new TreeMap<>();
    for (String name :
        List.of("spore.host.Host", "spore.host.Native", "com.google.gson.Gson", "spore.Context", "SporeWarmHandler")) {
      ClassLoader own = Probe.class.getClassLoader();
      if (own.getResource("META-INF/MANIFEST.MF") != null || own.getResource("spore/host/Host.class") != null) {
        seen.put("resources", 1);
      }
      for (ClassLoader loader :
          new ClassLoader[] {
            Probe.class.getClassLoader(),
            ClassLoader.getSystemClassLoader(),
            Thread.currentThread().getContextClassLoader()
          }) {
        try {
          Class.forName(name, false, loader);
          seen.merge(name, 1, (a, b) -> (Integer) a + (Integer) b);
        } catch (ClassNotFoundException e) {
          seen.putIfAbsent(name, 0);
        }
      }
    }
    return seen;
  }

  public static Object threads(Map<String, Object> event) throws Exception {
    int count = (Integer) event.getOrDefault("count", 8);
    AtomicInteger done = new AtomicInteger();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      Thread thread = new Thread(done::incrementAndGet);
      thread.start();
      threads.add(thread);
    }
    for (Thread thread : threads) {
      thread.join();
    }
    ExecutorService pool = Executors.newFixedThreadPool(4);
    int sum = 0;
    List<java.util.concurrent.Future<Integer>> futures = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      int value = i;
      futures.add(pool.submit(() -> value));
    }
    for (java.util.concurrent.Future<Integer> future : futures) {
      sum += future.get();
    }
    pool.shutdown();
    boolean ended = pool.awaitTermination(20, TimeUnit.SECONDS);
    long parallel = IntStream.range(0, 100_000).parallel().filter(i -> i % 3 == 0).count();
    return Map.of("done", done.get(), "sum", sum, "ended", ended, "parallel", parallel);
  }

  public static Object timers() throws Exception {
    ScheduledExecutorService scheduler = Executors.newScheduledThreadPool(1);
    CountDownLatch ticks = new CountDownLatch(5);
    scheduler.scheduleAtFixedRate(ticks::countDown, 1, 5, TimeUnit.MILLISECONDS);
    boolean ticked = ticks.await(20, TimeUnit.SECONDS);
    scheduler.shutdownNow();
    java.util.Timer timer = new java.util.Timer(true);
    CountDownLatch fired = new CountDownLatch(1);
    timer.schedule(
        new java.util.TimerTask() {
          @Override
          public void run() {
            fired.countDown();
          }
        },
        5);
    boolean once = fired.await(20, TimeUnit.SECONDS);
    long before = System.nanoTime();
    Thread.sleep(20);
    Object lock = new Object();
    synchronized (lock) {
      lock.wait(10);
    }
    return Map.of("ticked", ticked, "once", once, "slept", System.nanoTime() - before >= 29_000_000L);
  }

  /** Collections of every kind, with threads that allocate meanwhile, and references cleared. */
  public static Object garbage() throws Exception {
    long before = collections();
    Thread[] threads = new Thread[3];
    AtomicInteger sound = new AtomicInteger();
    for (int t = 0; t < threads.length; t++) {
      threads[t] =
          new Thread(
              () -> {
                List<int[]> kept = new ArrayList<>();
                for (int i = 0; i < 20_000; i++) {
                  int[] block = new int[500];
                  block[i % 500] = i;
                  if (i % 100 == 0) {
                    kept.add(block);
                  }
                }
                int right = 0;
                for (int i = 0; i < kept.size(); i++) {
                  right += kept.get(i)[i * 100 % 500] == i * 100 ? 1 : 0;
                }
                sound.addAndGet(right);
              });
      threads[t].start();
    }
    for (Thread thread : threads) {
      thread.join();
    }
    java.lang.ref.WeakReference<Object> weak = new java.lang.ref.WeakReference<>(new Object());
    System.gc();
    CountDownLatch cleaned = new CountDownLatch(1);
    java.lang.ref.Cleaner.create().register(new Object(), cleaned::countDown);
    boolean clean = false;
    for (int i = 0; i < 50 && !clean; i++) {
      System.gc();
      clean = cleaned.await(200, TimeUnit.MILLISECONDS);
    }
    List<String> pools = new ArrayList<>();
    for (MemoryPoolMXBean pool : ManagementFactory.getMemoryPoolMXBeans()) {
      pools.add(pool.getName());
    }
    return Map.of("collections", collections() - before, "sound", sound.get(), "cleared", weak.get() == null, "cleaned", clean, "pools", pools);
  }

  public static Object memory() throws Exception {
    Map<String, Object> values = new TreeMap<>();
    Runtime runtime = Runtime.getRuntime();
    values.put("max", runtime.maxMemory() >> 20);
    values.put("total", runtime.totalMemory() >> 20);
    values.put("free", runtime.freeMemory() >> 20);
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("Rss") || line.startsWith("VmRSS")) {
        values.put(line.split(":")[0], line.split(":")[1].trim());
      }
    }
    return values;
  }

  private static long collections() {
    return ManagementFactory.getGarbageCollectorMXBeans().stream().mapToLong(bean -> bean.getCollectionCount()).sum();
  }

  /** Something that only gets fast when it is compiled; the compiler's own clock tells. */
  public static Object compilation() throws Exception {
    java.lang.management.CompilationMXBean compiler = ManagementFactory.getCompilationMXBean();
    long before = compiler.getTotalCompilationTime();
    long sum = 0;
    for (int round = 0; round < 400 && compiler.getTotalCompilationTime() - before < 20; round++) {
      for (int i = 0; i < 200_000; i++) {
        sum = mix(sum, i);
      }
    }
    return Map.of("compiled", compiler.getTotalCompilationTime() > before, "sum", sum != 0);
  }

  private static long mix(long sum, int value) {
    return Long.rotateLeft(sum ^ value * 0x9E3779B97F4A7C15L, 7) + value;
  }

  public static Object files() throws Exception {
    Path file = Path.of("/tmp/data");
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap("hello channel".getBytes(StandardCharsets.UTF_8)));
      channel.map(FileChannel.MapMode.READ_WRITE, 0, 5).put(0, (byte) 'J');
      channel.force(true);
    }
    String text = Files.readString(file);
    Files.delete(file);
    return text;
  }

  /** A server and a client, with a selector: an epoll set and an eventfd. */
  public static Object sockets() throws Exception {
    UnixDomainSocketAddress address = UnixDomainSocketAddress.of("/tmp/socket");
    try (Selector selector = Selector.open();
        ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(address)) {
      server.configureBlocking(false);
      server.register(selector, SelectionKey.OP_ACCEPT);
      AtomicReference<String> received = new AtomicReference<>();
      Thread client =
          new Thread(
              () -> {
                try (SocketChannel channel = SocketChannel.open(address)) {
                  channel.write(ByteBuffer.wrap("ping".getBytes(StandardCharsets.UTF_8)));
                  ByteBuffer answer = ByteBuffer.allocate(16);
                  channel.read(answer);
                  received.set(new String(answer.array(), 0, answer.position(), StandardCharsets.UTF_8));
                } catch (Exception e) {
                  received.set(e.toString());
                }
              });
      client.start();
      selector.select(20_000);
      try (SocketChannel channel = server.accept()) {
        ByteBuffer question = ByteBuffer.allocate(16);
        channel.read(question);
        question.flip();
        channel.write(question);
      }
      client.join();
      selector.wakeup();
      selector.selectNow();
      return received.get();
    }
  }

  public static Object child() throws Exception {
    Process process = new ProcessBuilder("/bin/sh", "-c", "echo out of $PPID; exit 3").start();
    String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    return Map.of("code", process.waitFor(), "text", text.trim(), "pid", ProcessHandle.current().pid());
  }

  public static Object uncaught() throws Exception {
    Thread thread = new Thread(() -> {
      throw new IllegalStateException("of a thread");
    }, "doomed");
    thread.start();
    thread.join();
    return "alive";
  }

  public static Object hooks() {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("the hook ran")));
    System.exit(7);
    return null;
  }

  public static void stream(InputStream in, OutputStream out, Context context) throws Exception {
    out.write('[');
    out.write(in.readAllBytes());
    out.write(("," + context.getMemoryLimitInMB() + "]").getBytes(StandardCharsets.UTF_8));
  }

  private Probe() {}
}
