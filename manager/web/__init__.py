"""Flask and Socket.IO: the only room that knows HTTP."""
