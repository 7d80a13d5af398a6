package com.example;

import java.util.Map;
import spore.Context;
import spore.RequestHandler;

/** The smallest function: an event in, a result out. */
public class Hello implements RequestHandler<Map<String, Object>, Map<String, Object>> {
  @Override
  public Map<String, Object> handleRequest(Map<String, Object> event, Context context) {
    return Map.of("message", "hello, " + event.getOrDefault("name", "world"));
  }
}
