import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import spore.Context;
import spore.RequestHandler;

/**
 * A handler of the host's own, called before there is a tenant: what it uses of the library is then
 * loaded and compiled. Each load of this class also links what the language makes of lambdas,
 * records and string concatenation, which is slow until HotSpot has compiled its own part of it.
 */
public final class SporeWarmHandler implements RequestHandler<Map<String, Object>, Object> {
  private int calls;

  @Override
  public Object handleRequest(Map<String, Object> event, Context context) throws Exception {
    Map<String, Object> answer = new HashMap<>();
    answer.put("event", event);
    answer.put("request", context.getAwsRequestId());
    if (calls++ == 0) {
      answer.put("texts", texts(event, context));
      answer.put("streams", streams());
      answer.put("library", library());
    }
    return answer;
  }

  private List<String> texts(Map<String, Object> event, Context context) {
    List<String> texts = new ArrayList<>();
    long id = ThreadLocalRandom.current().nextLong();
    texts.add("hello " + event);
    texts.add("a=" + id + ", b=" + 1.5 + " c=" + 'x' + calls);
    texts.add(context.getFunctionName() + ":" + context.getAwsRequestId() + "/" + (calls > 0));
    texts.add(String.format("%s has %d of %.2f at %x", context, calls, 1.5, id));
    texts.add(String.join(",", event.keySet()).toUpperCase());
    StringBuilder builder = new StringBuilder();
    for (Map.Entry<String, Object> entry : event.entrySet()) {
      builder.append(entry.getKey()).append('=').append(entry.getValue()).append(';');
    }
    texts.add(builder.toString());
    switch (texts.get(0)) {
      case "hello":
        texts.add("plain");
        break;
      default:
        texts.add(SporeWarmColour.valueOf("RED").name() + SporeWarmColour.values().length);
    }
    return texts;
  }

  private List<Object> streams() {
    Function<Integer, Integer> twice = value -> value * 2;
    Supplier<List<String>> maker = ArrayList::new;
    List<Object> results = new ArrayList<>(maker.get());
    results.add(IntStream.range(0, 20).filter(i -> i % 2 == 0).sum());
    results.add(
        Arrays.asList("b", "a", "c").stream()
            .map(text -> new SporeWarmPair(text, text.length()))
            .sorted((a, b) -> a.name().compareTo(b.name()))
            .collect(Collectors.groupingBy(SporeWarmPair::value, TreeMap::new, Collectors.counting()))
            .toString());
    results.add(Optional.of(3).map(twice).orElse(0));
    results.add(new SporeWarmPair("p", 1).equals(new SporeWarmPair("p", 1)) + new SporeWarmPair("q", 2).toString());
    return results;
  }

  private Map<String, Object> library() throws Exception {
    Map<String, Object> found = new TreeMap<>();
    found.put("uuid", UUID.randomUUID().toString());
    found.put("random", Math.random() + new SecureRandom().nextInt(10));
    found.put("time", Instant.ofEpochMilli(System.currentTimeMillis()).atOffset(ZoneOffset.UTC).toString());
    byte[] bytes = "text".getBytes(StandardCharsets.UTF_8);
    found.put("base64", Base64.getEncoder().encodeToString(bytes));
    found.put("digest", java.security.MessageDigest.getInstance("SHA-256").digest(bytes).length);
    Matcher matcher = Pattern.compile("([a-z]+)-(\\d+)").matcher("item-42");
    found.put("match", matcher.matches() ? matcher.group(2) : "");
    found.put("pid", ProcessHandle.current().pid());
    found.put("home", String.valueOf(System.getenv("HOME")));
    try {
      Integer.parseInt("none");
    } catch (NumberFormatException e) {
      found.put("error", e.getMessage());
    }
    return found;
  }
}

record SporeWarmPair(String name, int value) {}

enum SporeWarmColour {
  RED,
  GREEN
}
