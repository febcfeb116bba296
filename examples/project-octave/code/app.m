% How many digits of a regression are right? Longley's data, solved in two ways, beside the certified coefficients.
%
% Reads longley.csv and certified.csv from /input; writes digits.csv and result.json to /output.
% Elsewhere: octave-cli --path code code/app.m INPUT OUTPUT

given = argv ();
if numel (given) >= 2
  [input_folder, output_folder] = given{end-1:end};
else
  [input_folder, output_folder] = deal ("/input", "/output");
end

longley = importdata (fullfile (input_folder, "longley.csv"), ",", 1);
certified = dlmread (fullfile (input_folder, "certified.csv"), ",", 1, 1);
y = longley.data(:, 1);
X = [ones(rows (longley.data), 1), longley.data(:, 2:end)];
names = [{"intercept"}, longley.colheaders(2:end)];
printf ("%d years, %d coefficients, condition number %.1e\n", rows (X), columns (X), cond (X));

warning ("off", "Octave:nearly-singular-matrix"); % which it is: that is the point
methods = {"normal", "qr"};
digits = zeros (columns (X), numel (methods));
for m = 1:numel (methods)
  b = least_squares (X, y, methods{m});
  digits(:, m) = -log10 (max (abs (b - certified) ./ abs (certified), eps));
  result.(methods{m}) = struct ("coefficients", b', "fewest_digits", min (digits(:, m)));
  printf ("%-7s keeps at least %.1f digits\n", methods{m}, min (digits(:, m)));
end

out = fopen (fullfile (output_folder, "digits.csv"), "w");
fprintf (out, "coefficient,%s,%s\n", methods{:});
for k = 1:numel (names)
  fprintf (out, "%s,%.1f,%.1f\n", names{k}, digits(k, :));
end
fclose (out);

out = fopen (fullfile (output_folder, "result.json"), "w");
fprintf (out, "%s\n", jsonencode (result));
fclose (out);
disp ("wrote digits.csv and result.json");
