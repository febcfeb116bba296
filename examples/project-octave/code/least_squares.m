function b = least_squares (X, y, method)
  % Coefficients b for which X * b is nearest to y.
  %   "normal": the normal equations X'X b = X'y, as in textbooks; squares the condition number of X.
  %   "qr":     an orthogonal decomposition of X itself.
  switch method
    case "normal"
      b = (X' * X) \ (X' * y);
    case "qr"
      [Q, R] = qr (X, 0);
      b = R \ (Q' * y);
    otherwise
      error ("no method %s", method);
  end
end
