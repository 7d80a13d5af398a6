package spore;

import java.io.InputStream;
import java.io.OutputStream;

/** A function that reads the event's bytes itself, and writes its result's: JSON by agreement only. */
@FunctionalInterface
public interface RequestStreamHandler {
  void handleRequest(InputStream event, OutputStream result, Context context) throws Exception;
}
