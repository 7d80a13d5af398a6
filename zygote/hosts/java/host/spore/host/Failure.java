package spore.host;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A failure as the caller is told it: kind, message, and the tenant's part of the stack. */
final class Failure extends Exception {
  private static final long serialVersionUID = 1;
  private static final int MAX_FRAMES = 64;
  private static final int MAX_CAUSES = 8;
  // Together, with six bytes a character at most, less than the daemon takes.
  private static final int MAX_LINE = 1024;
  private static final int MAX_MESSAGE = 64 * 1024;

  private final String kind;
  private final transient List<String> stack;

  Failure(String kind, String message, List<String> stack) {
    super(message, null, false, false);
    this.kind = kind;
    this.stack = stack;
  }

  Failure(String kind, String message) {
    this(kind, message, List.of());
  }

  /** Of what the tenant's code threw. */
  static Failure of(Throwable thrown) {
    return new Failure(thrown.getClass().getName(), messageOf(thrown), stackOf(thrown));
  }

  static String messageOf(Throwable thrown) {
    try {
      String message = thrown.getMessage();
      return message == null ? "" : message;
    } catch (Throwable second) { // a tenant's getMessage may fail too
      return "<message not printable: " + second.getClass().getName() + ">";
    }
  }

  /** Innermost first, as Java prints it; then the causes. */
  static List<String> stackOf(Throwable thrown) {
    List<String> lines = new ArrayList<>();
    try {
      addFrames(lines, thrown);
      Throwable cause = thrown.getCause();
      for (int i = 0; i < MAX_CAUSES && cause != null && cause != thrown; i++) {
        lines.add("Caused by: " + cause.getClass().getName() + ": " + messageOf(cause));
        addFrames(lines, cause);
        cause = cause.getCause();
      }
    } catch (Throwable second) { // getCause and getStackTrace can be the tenant's
      lines.add("<stack not printable: " + second.getClass().getName() + ">");
    }
    return lines;
  }

  private static void addFrames(List<String> lines, Throwable thrown) {
    StackTraceElement[] frames = ownFrames(thrown.getStackTrace());
    for (int i = 0; i < frames.length && lines.size() < MAX_FRAMES; i++) {
      lines.add(frames[i].toString());
    }
  }

  /** Without the host's frames, and those of the reflection by which it calls. */
  static StackTraceElement[] ownFrames(StackTraceElement[] frames) {
    int end = 0;
    while (end < frames.length && !frames[end].getClassName().startsWith("spore.host.")) {
      end++;
    }
    if (end < frames.length) {
      while (end > 0 && isReflection(frames[end - 1].getClassName())) {
        end--;
      }
    }
    return java.util.Arrays.copyOf(frames, end);
  }

  private static boolean isReflection(String name) {
    return name.startsWith("java.lang.reflect.")
        || name.startsWith("jdk.internal.reflect.")
        || name.startsWith("java.lang.invoke.");
  }

  byte[] toJson() {
    Map<String, Object> text = new LinkedHashMap<>();
    text.put("errorType", sound(kind, MAX_LINE));
    text.put("errorMessage", sound(getMessage(), MAX_MESSAGE));
    List<String> lines = new ArrayList<>(stack.size());
    for (String line : stack) {
      lines.add(sound(line, MAX_LINE));
    }
    text.put("stackTrace", lines);
    return Json.write(text);
  }

  /** Cut, and without what UTF-8 cannot hold: a lone surrogate would spoil the whole report. */
  private static String sound(String text, int limit) {
    String cut = text.length() <= limit ? text : text.substring(0, limit);
    for (int i = 0; i < cut.length(); i++) {
      if (Character.isSurrogate(cut.charAt(i))) {
        byte[] bytes = cut.getBytes(java.nio.charset.StandardCharsets.UTF_8);
        return new String(bytes, java.nio.charset.StandardCharsets.UTF_8);
      }
    }
    return cut;
  }
}
