package work;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import freemarker.template.Configuration;
import freemarker.template.Template;
import java.io.StringWriter;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/** What others wrote, at work in a forked JVM. */
public final class Work {
  public static class Item {
    public String name;
    public int count;
    public double price;
    public List<String> tags;
    public Map<String, Item> parts;
  }

  private static List<Path> under(Path root, String suffix) throws Exception {
    try (Stream<Path> files = Files.walk(root)) {
      return files.filter(file -> file.toString().endsWith(suffix)).sorted().collect(Collectors.toList());
    }
  }

  /** Compiles the project that lies in /var/task/project; returns the digest of every class. */
  public static Object compiles(Map<String, Object> event) throws Exception {
    Path out = Files.createDirectories(Path.of("/tmp/out"));
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    DiagnosticCollector<JavaFileObject> messages = new DiagnosticCollector<>();
    boolean fine;
    try (StandardJavaFileManager files = compiler.getStandardFileManager(messages, null, null)) {
      List<String> options = List.of("--release", "17", "-g", "-proc:none", "-cp", (String) event.get("classPath"), "-d", out.toString());
      fine =
          compiler
              .getTask(null, files, messages, options, null, files.getJavaFileObjectsFromPaths(under(Path.of("/var/task/project"), ".java")))
              .call();
    }
    Map<String, Object> digests = new TreeMap<>();
    for (Path file : under(out, ".class")) {
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
      digests.put(out.relativize(file).toString(), String.format("%064x", new BigInteger(1, digest)));
    }
    return Map.of("fine", fine, "messages", messages.getDiagnostics().toString(), "classes", digests);
  }

  /** The same text through Jackson's tree, Jackson's and Gson's objects, and back. */
  public static Object json(String text) throws Exception {
    ObjectMapper mapper = new ObjectMapper().configure(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS, true);
    JsonNode tree = mapper.readTree(text);
    int nodes = 0;
    for (JsonNode item : tree) {
      nodes += item.size();
    }
    Item[] items = mapper.readValue(text, Item[].class);
    Gson gson = new Gson();
    List<Item> again = gson.fromJson(mapper.writeValueAsString(items), new TypeToken<List<Item>>() {}.getType());
    return Map.of("nodes", nodes, "count", again.stream().mapToInt(item -> item.count).sum(),
        "deepest", again.get(0).parts.get("inner").tags, "text", gson.toJson(again), "tree", mapper.writeValueAsString(tree));
  }

  public static Object template(Map<String, Object> event) throws Exception {
    Configuration configuration = new Configuration(Configuration.VERSION_2_3_31);
    Template template = new Template("page", (String) event.get("template"), configuration);
    StringWriter out = new StringWriter();
    template.process(event.get("model"), out);
    return out.toString();
  }

  private Work() {}
}
